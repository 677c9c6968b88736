using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>x sigmoid(x), and x (erf(x/sqrt(2)) + 1) * 0.5 with the half on either side, as exporters write SiLU and GELU.</summary>
internal static class ActivationPattern
{
    public static Func<Value>? Match(Node product, Patterns patterns)
    {
        foreach (var (one, other) in Patterns.Both(product))
        {
            if (Patterns.Made(other, "Sigmoid") is { } sigmoid && sigmoid.Inputs[0] == one) return () => Functions.Silu(one);
            if (Patterns.Number(other) == 0.5 && patterns.Inner(one, "Mul") is { } whole)
            {
                foreach (var (x, sum) in Patterns.Both(whole))
                    if (IsTwicePhi(sum, x, patterns)) return () => Functions.Gelu(x);
            }
            if (patterns.Inner(one, "Mul") is not { } half) continue;
            foreach (var (x, number) in Patterns.Both(half))
                if (Patterns.Number(number) == 0.5 && IsTwicePhi(other, x, patterns)) return () => Functions.Gelu(x);
        }
        return null;
    }

    /// <summary>Whether a value is erf(x/sqrt(2)) + 1.</summary>
    private static bool IsTwicePhi(Value value, Value x, Patterns patterns) => patterns.Inner(value, "Add") is { } sum
        && Patterns.Both(sum).Any(p =>
            Patterns.Number(p.Second) == 1 && patterns.Inner(p.First, "Erf") is { } erf && IsScaled(erf.Inputs[0], x, patterns));

    private static bool IsScaled(Value? value, Value x, Patterns patterns) =>
        (patterns.Inner(value, "Div") is { } div && div.Inputs[0] == x && Near(Patterns.Number(div.Inputs[1]), Math.Sqrt(2)))
        || (patterns.Inner(value, "Mul") is { } mul
            && Patterns.Both(mul).Any(p => p.First == x && Near(Patterns.Number(p.Second), 1 / Math.Sqrt(2))));

    private static bool Near(double? number, double expected) => number is { } n && Math.Abs(n - expected) < 1e-3;
}
