using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// Places of tokens as angles: neighbours 2i and 2i+1 of a head's channels turn by place * theta^(-2j/d), d channels for each axis of the
/// places.
/// Source: Su et al., 2021.
/// </summary>
internal sealed class RotaryEmbedding
{
    private const double Theta = 10000;

    private readonly Value _cos, _sin;

    /// <summary>Computes the angles, in single precision.</summary>
    /// <param name="ids">Places [S, axes].</param>
    /// <param name="widths">Channels of a head for each axis, even.</param>
    /// <param name="type">Element type of what is turned.</param>
    public RotaryEmbedding(Value ids, IReadOnlyList<long> widths, ElementType type)
    {
        var half = widths.Sum() / 2;
        var frequencies = new float[widths.Count * half];
        for (int axis = 0, at = 0; axis < widths.Count; axis++)
            for (var j = 0; j < widths[axis] / 2; j++) frequencies[(axis * half) + at++] = (float)Math.Pow(Theta, -2.0 * j / widths[axis]);
        var angles = MatMul(Cast(ids, ElementType.Float), ids.Graph.Constant(Tensor.Of(frequencies, widths.Count, half))).Unsqueeze(2);
        (_cos, _sin) = (Cast(Cos(angles), type), Cast(Sin(angles), type));
    }

    /// <summary>Turns queries or keys [B,heads,S,width].</summary>
    public Value Turned(Value x)
    {
        var width = x.Shape![-1].Size;
        var pairs = x.Reshape(0, 0, 0, width / 2, 2).Split(-1, 1, 1);
        var (a, b) = (pairs[0], pairs[1]);
        return Layout.Concat(-1, (a * _cos) - (b * _sin), (b * _cos) + (a * _sin)).Reshape(0, 0, 0, width);
    }
}
