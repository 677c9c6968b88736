namespace OrtRlhf.Graph;

/// <summary>A weight that lies as halves and is made single where it is used.</summary>
internal static class HalfWeight
{
    /// <summary>The half that a weight is made of; null for any other value.</summary>
    public static Value? Of(Value? value) =>
        value?.Producer is { Op: "Cast" } cast && cast.Input(0) is { Data: not null, Type: ElementType.Float16 } half ? half : null;
}
