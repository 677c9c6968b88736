using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Elementwise rules too long for the table.</summary>
internal static class Elementwise
{
    // y = x^p: dx = dy p x^(p-1), dp = dy y ln x (x > 0).
    public static IReadOnlyList<Value?> Power(NodeGradient g)
    {
        var (x, p) = (g.In(0), Cast(g.In(1), g.In(0).Type));
        Value? dx = null;
        if (g.Needs(0))
        {
            dx = g.In(1) is { IsConstant: true, Data: { Count: 1 } data }
                ? data.ToFloats()[0] == 2f ? g.Dy * (x * 2.0) : g.Dy * (Pow(x, data.ToFloats()[0] - 1.0) * data.ToFloats()[0])
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
    public static IReadOnlyList<Value?> Extreme(NodeGradient g)
    {
        var result = new Value?[g.Node.Inputs.Count];
        var zero = g.Graph.Scalar(g.Dy.Type, 0);
        var left = g.Dy;
        for (var i = 0; i < result.Length; i++)
        {
            if (i == result.Length - 1)
            {
                result[i] = left;
                break;
            }
            var chosen = g.Graph.Op("Equal", [g.In(i), g.Out(0)]);
            if (g.Needs(i)) result[i] = Where(chosen, left, zero);
            left = Where(chosen, zero, left);
        }
        return result;
    }

    // y = x Phi(x): dx = dy (Phi(x) + x phi(x));  by tanh: y = x (1 + t)/2, t = tanh(u), u = c (x + a x^3).
    public static IReadOnlyList<Value?> Gelu(NodeGradient g)
    {
        var x = g.In(0);
        if (g.Node.Attribute("approximate", "none") == "none")
            return [g.Dy * GeluSlope(x)];
        var (c, a) = (Math.Sqrt(2 / Math.PI), 0.044715);
        var t = Tanh((x + (x * x * x * a)) * c);
        return [g.Dy * (((t + 1) * 0.5) + (x * (1 - Square(t)) * ((Square(x) * (3 * a)) + 1) * (c / 2)))];
    }

    /// <summary>Phi(x) + x phi(x); with t = x/sqrt(2): Phi = (erf(t) + 1)/2 and x phi = t exp(-t^2)/sqrt(pi).</summary>
    public static Value GeluSlope(Value x)
    {
        var t = x * (1 / Math.Sqrt(2)); // not x/sqrt(2), which a runtime would take for the one above, and keep
        return HalfPlus(Erf(t)) + (t * Exp((-0.5 * Math.Log(Math.PI)) - (t * t)));
    }

    /// <summary>(x + 1)/2 of x within -1 and 1, one pass over memory where there is an operator for it.</summary>
    private static Value HalfPlus(Value x) =>
        x.Type == ElementType.Float ? x.Graph.Op("HardSigmoid", [x], ("alpha", 0.5f), ("beta", 0.5f)) : (x + 1) * 0.5;

    // Outside training it is the identity.
    public static IReadOnlyList<Value?> Dropout(NodeGradient g) =>
        g.Node.Input(2) is { } training && ShapeRules.Integers(training) is not [0]
        ? throw new UserError($"{g.Node}: dropout in training mode cannot be differentiated; export the model in evaluation mode")
        : [g.Dy];

    // dx = dy where x > 0, alpha dy elsewhere.
    public static IReadOnlyList<Value?> LeakyRelu(NodeGradient g)
    {
        var zero = g.Graph.Scalar(g.In(0).Type, 0);
        return [Where(Greater(g.In(0), zero), g.Dy, g.Dy * g.Node.Attribute("alpha", 0.01f))];
    }
}
