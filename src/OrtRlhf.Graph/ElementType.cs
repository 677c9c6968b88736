namespace OrtRlhf.Graph;

/// <summary>Element types of tensors, by the numbers of the ONNX format.</summary>
public enum ElementType
{
    /// <summary>Not known.</summary>
    Undefined = 0,
    /// <summary>32-bit IEEE float.</summary>
    Float = 1,
    /// <summary>Unsigned 8-bit integer.</summary>
    UInt8 = 2,
    /// <summary>Signed 8-bit integer.</summary>
    Int8 = 3,
    /// <summary>Unsigned 16-bit integer.</summary>
    UInt16 = 4,
    /// <summary>Signed 16-bit integer.</summary>
    Int16 = 5,
    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 6,
    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 7,
    /// <summary>UTF-8 text.</summary>
    String = 8,
    /// <summary>One byte, 0 or 1.</summary>
    Bool = 9,
    /// <summary>16-bit IEEE float.</summary>
    Float16 = 10,
    /// <summary>64-bit IEEE float.</summary>
    Double = 11,
    /// <summary>Unsigned 32-bit integer.</summary>
    UInt32 = 12,
    /// <summary>Unsigned 64-bit integer.</summary>
    UInt64 = 13,
    /// <summary>16-bit brain float: the upper half of a 32-bit float.</summary>
    BFloat16 = 16,
}

/// <summary>Facts about element types.</summary>
public static class ElementTypes
{
    /// <summary>Bytes an element takes. Text and unknown types have no fixed size: <see cref="UserError"/>.</summary>
    public static int SizeOf(this ElementType type) => type switch
    {
        ElementType.UInt8 or ElementType.Int8 or ElementType.Bool => 1,
        ElementType.UInt16 or ElementType.Int16 or ElementType.Float16 or ElementType.BFloat16 => 2,
        ElementType.Float or ElementType.Int32 or ElementType.UInt32 => 4,
        ElementType.Double or ElementType.Int64 or ElementType.UInt64 => 8,
        _ => throw new UserError($"element type {type} has no fixed size; expected a number type"),
    };

    /// <summary>Whether the type is a floating-point one, so that gradients can flow through it.</summary>
    public static bool IsFloating(this ElementType type) =>
        type is ElementType.Float or ElementType.Float16 or ElementType.BFloat16 or ElementType.Double;
}
