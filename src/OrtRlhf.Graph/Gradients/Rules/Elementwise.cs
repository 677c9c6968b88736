using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients.Rules;

/// <summary>Elementwise rules too long for the table.</summary>
internal static class Elementwise
{
    // y = x^p: dx = dy p x^(p-1), dp = dy y ln x (x > 0).
    public static IReadOnlyList<Value?> Power(NodeGradient g)
    {
        var (x, p) = (g.In(0), g.In(1));
        Value? dx = null;
        if (g.Needs(0))
        {
            dx = p is { IsConstant: true, Data.Count: 1 }
                ? p.Data.ToFloats()[0] == 2f ? g.Dy * (x * 2.0) : g.Dy * (Pow(x, p.Data.ToFloats()[0] - 1.0) * p.Data.ToFloats()[0])
                : g.Dy * (p * g.Graph.Op("Pow", [x, p - 1.0]));
        }
        return [dx, g.Needs(1) ? g.Dy * (g.Out(0) * Log(x)) : null];
    }

    // dx = dy where low <= x <= high.
    public static IReadOnlyList<Value?> Clip(NodeGradient g)
    {
        var x = g.In(0);
        var dy = g.Dy;
        var zero = g.Graph.Scalar(dy.Type, 0);
        if (g.Node.Input(1) is { } low) dy = Where(g.Graph.Op("GreaterOrEqual", [x, low]), dy, zero);
        if (g.Node.Input(2) is { } high) dy = Where(g.Graph.Op("LessOrEqual", [x, high]), dy, zero);
        return [dy, null, null];
    }

    // The chosen input gets the gradient; of equal ones the earliest.
    public static IReadOnlyList<Value?> Extreme(NodeGradient g, string comparison)
    {
        var result = new Value?[g.Node.Inputs.Count];
        if (result.Length == 1) return [g.Dy];
        if (result.Length != 2) throw new UserError($"{g.Node}: expected two inputs, got {result.Length}; the gradient of more is not supported");
        var first = g.Graph.Op(comparison, [g.In(0), g.In(1)]);
        var zero = g.Graph.Scalar(g.Dy.Type, 0);
        return [g.Needs(0) ? Where(first, g.Dy, zero) : null, g.Needs(1) ? Where(first, zero, g.Dy) : null];
    }

    // dx = dy where x > 0, alpha dy elsewhere.
    public static IReadOnlyList<Value?> LeakyRelu(NodeGradient g)
    {
        var zero = g.Graph.Scalar(g.In(0).Type, 0);
        return [Where(Greater(g.In(0), zero), g.Dy, g.Dy * g.Node.Attribute("alpha", 0.01f))];
    }
}
