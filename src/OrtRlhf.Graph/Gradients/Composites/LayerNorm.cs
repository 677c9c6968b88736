using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;
using static OrtRlhf.Graph.Gradients.Standardization;

namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// Layer normalisation over the last axis. Outputs: y and, before scale and bias, xhat, which the gradient uses; both [..., M].
/// </summary>
internal sealed class LayerNorm : Composite
{
    public override Value[] Lower(Node node)
    {
        var (x, scale, bias) = (node.Input(0)!, node.Input(1)!, node.Input(2));
        var xhat = Standardized(x.Reshape(-1, 1, scale.Sizes[0]), 1, node.Attribute("epsilon", 1e-5f)).ReshapeLike(x);
        var y = Cast(xhat, x.Type) * scale;
        return [bias is null ? y : y + bias, xhat];
    }

    public override Value?[] Gradient(NodeGradient g)
    {
        var (x, scale, xhat) = (Single(g.In(0)), g.In(1), g.Out(1));
        var dy = Single(g.Upstream(0)!);
        long[] others = [.. Enumerable.Range(0, x.Shape!.Rank - 1).Select(i => (long)i)];
        var dx = g.Needs(0)
            ? Cast(StandardizedGradient(dy * Single(scale), x, xhat, g.Node.Attribute("epsilon", 1e-5f)), g.In(0).Type) : null;
        var dScale = g.Needs(1) ? Cast(Sum(dy * xhat, others), scale.Type) : null;
        return g.Node.Inputs.Count > 2 ? [dx, dScale, g.Needs(2) ? Sum(g.Upstream(0)!, others) : null] : [dx, dScale];
    }
}
