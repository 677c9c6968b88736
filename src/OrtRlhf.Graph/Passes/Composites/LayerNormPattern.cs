using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias over the last axis, as exporters wrote it before opset 17.
/// </summary>
internal static class LayerNormPattern
{
    private const int First = 17;

    public static Func<Value>? Match(Node add, Patterns patterns)
    {
        if (add.Graph.Opset < First) return null;
        foreach (var (product, bias) in Patterns.Both(add))
        {
            if (patterns.Inner(product, "Mul") is not { } mul) continue;
            foreach (var (normal, scale) in Patterns.Both(mul))
            {
                if (patterns.Inner(normal, "Div") is not { } div || Centred(div.Inputs[0]) is not { } x || x.Shape is not { } shape
                    || !shape[-1].IsKnown) continue;
                if (patterns.Inner(div.Inputs[1], "Sqrt") is not { } root
                    || patterns.Inner(root.Inputs[0], "Add") is not { } variance) continue;
                if (Epsilon(variance, div.Inputs[0]!, patterns) is not { } epsilon || !IsRow(scale, shape) || !IsRow(bias, shape)) continue;
                return () => Functions.LayerNorm(x, scale, bias, epsilon);
            }
        }
        return null;
    }

    /// <summary>ONNX's own operator, over the last axis.</summary>
    public static Func<Value>? Match(Node norm)
    {
        var (x, scale, bias) = (norm.Inputs[0]!, norm.Inputs[1]!, norm.Input(2));
        if (x.Shape is not { } shape || shape.Axis(norm.Attribute("axis", -1L)) != shape.Rank - 1 || !IsRow(scale, shape)) return null;
        if (norm.Outputs.Count > 1 || (bias is not null && !IsRow(bias, shape)) || !scale.Shape![0].IsKnown) return null;
        return () => Functions.LayerNorm(x, scale, bias, norm.Attribute("epsilon", 1e-5f));
    }

    /// <summary>x, of x - mean(x).</summary>
    private static Value? Centred(Value? value) =>
        Patterns.Made(value, "Sub") is { } sub && IsMean(sub.Inputs[1], out var x) && x == sub.Inputs[0] ? x : null;

    /// <summary>Epsilon, of mean(centred^2) + epsilon.</summary>
    private static double? Epsilon(Node variance, Value centred, Patterns patterns)
    {
        foreach (var (mean, epsilon) in Patterns.Both(variance))
        {
            if (Patterns.Number(epsilon) is not { } number || !IsMean(mean, out var square)) continue;
            if (patterns.Inner(square, "Pow") is { } pow ? pow.Inputs[0] == centred && Patterns.Number(pow.Inputs[1]) == 2
                : patterns.Inner(square, "Mul") is { } mul && mul.Inputs[0] == centred && mul.Inputs[1] == centred) return number;
        }
        return null;
    }

    private static bool IsMean(Value? value, out Value? of)
    {
        of = null;
        if (Patterns.Made(value, "ReduceMean") is not { } mean || mean.Attribute("keepdims", 1L) == 0
            || mean.Inputs[0]!.Shape is not { } shape) return false;
        of = mean.Inputs[0];
        return ShapeRules.AttributeOrInput(mean, "axes", 1) is [var axis] && shape.Axis(axis) == shape.Rank - 1;
    }

    private static bool IsRow(Value value, Shape x) => value.Shape is { Rank: 1 } s && s[0] == x[-1];
}
