using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// Normalisation whose scale and shift come from the condition (adaLN): (1 + scale) xhat + shift, xhat the standardized state. Source:
/// Peebles and Xie, 2023.
/// </summary>
internal static class AdaptiveNorm
{
    private const double Epsilon = 1e-6;

    /// <summary>The parts of W c + b, each [B,1,D], of a condition c [B,E] that has passed its activation.</summary>
    public static Value[] Modulation(Module m, Value condition, long width, int parts)
    {
        using var scope = m.Scope();
        return m["linear"].Linear(condition, parts * width).Unsqueeze(1).Split(-1, [.. Enumerable.Repeat(width, parts)]);
    }

    /// <summary>xhat of states [B,S,D].</summary>
    public static Value Standardized(Value x)
    {
        var width = x.Shape![-1].Size;
        var name = $"ones.{width}";
        if (!x.Graph.Values.TryGetValue(name, out var ones))
        {
            var numbers = new float[width];
            Array.Fill(numbers, 1f);
            ones = x.Graph.Constant(Tensor.Of(numbers, width).As(x.Type), name);
        }
        return LayerNorm(x, ones, null, Epsilon);
    }

    /// <summary>(1 + scale) xhat + shift.</summary>
    public static Value Modulated(Value xhat, Value shift, Value scale) => (xhat * (scale + 1)) + shift;

    /// <summary>The normalisation behind the last block, whose layer gives scale before shift (AdaLayerNormContinuous).</summary>
    public static Value Continuous(Module m, Value x, Value condition)
    {
        using var scope = m.Scope();
        var parts = Modulation(m, condition, x.Shape![-1].Size, 2);
        return Modulated(Standardized(x), shift: parts[1], scale: parts[0]);
    }
}
