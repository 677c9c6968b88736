using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;
using static OrtRlhf.Graph.Gradients.Standardization;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Group normalisation. Outputs: y [B,C,...] and the normalised groups xhat [B, G, M], which the gradient uses.</summary>
internal sealed class GroupNorm : Composite
{
    public override Value[] Lower(Node node)
    {
        var (x, scale, bias) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        var groups = node.Attribute("num_groups", 1L);
        var rows = Standardized(x.Reshape(0, groups, -1), groups, node.Attribute("epsilon", 1e-5f));
        var perChannel = PerChannel(x);
        return [(Cast(rows, x.Type).ReshapeLike(x) * scale.Unsqueeze(perChannel)) + bias.Unsqueeze(perChannel), rows];
    }

    public override Value?[] Gradient(NodeGradient g)
    {
        var (x, scale, xhat) = (Single(g.In(0)), g.In(1), g.Out(1));
        var dy = Single(g.Upstream(0)!);
        var perChannel = PerChannel(x);
        long[] others = [0, .. perChannel.Select(i => i + 1)];
        Value? dx = null;
        if (g.Needs(0))
        {
            var w = (dy * Single(scale).Unsqueeze(perChannel)).Reshape(xhat.Sizes);
            dx = Cast(StandardizedGradient(w, x.Reshape(xhat.Sizes), xhat, g.Node.Attribute("epsilon", 1e-5f)).Reshape(x.Sizes),
                g.In(0).Type);
        }
        return [dx, g.Needs(1) ? Cast(Sum(dy * xhat.Reshape(x.Sizes), others), scale.Type) : null, g.Needs(2) ? Sum(g.Upstream(0)!, others)
            : null];
    }

    private static long[] PerChannel(Value x) => [.. Enumerable.Range(1, x.Shape!.Rank - 2).Select(i => (long)i)];
}
