using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Operators;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Composites;

/// <summary>
/// Group normalisation. Outputs: y [B,C,...], the normalised rows xhat [B*G, M] and 1/std [B*G, 1], which the gradient uses.
/// With static shapes it is lowered to LayerNormalization, which gives the statistics for nothing and runs on all cores.
/// </summary>
internal sealed class GroupNorm : Composite
{
    public override void Infer(Node node)
    {
        var x = node.Input(0)!;
        ShapeRules.Set(node, 0, x.Type, x.Shape);
        if (x.Shape is not { IsStatic: true } s) return;
        var rows = s[0].Size * node.Attribute("num_groups", 1L);
        if (s.Rank < 3 || s[1].Size % node.Attribute("num_groups", 1L) != 0) throw ShapeRules.Fault(node, $"channels that {node.Attribute("num_groups", 1L)} groups divide");
        ShapeRules.Set(node, 1, x.Type, Shape.Of(rows, s.Count / rows));
        ShapeRules.Set(node, 2, ElementType.Float, Shape.Of(rows, 1));
    }

    public override Value[] Lower(Node node)
    {
        var (x, scale, bias) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        var graph = node.Graph;
        var groups = node.Attribute("num_groups", 1L);
        var epsilon = node.Attribute("epsilon", 1e-5f);
        Value[] statistics = [];
        Value normal;
        if (x.Shape is { IsStatic: true } s)
        {
            var rows = s[0].Size * groups;
            var ones = graph.Constant(Tensor.Of(Ones(s.Count / rows), s.Count / rows).As(x.Type));
            var outputs = graph.Op("LayerNormalization", "", 3, [x.Reshape(rows, s.Count / rows), ones], ("axis", -1L), ("epsilon", epsilon));
            normal = outputs[0].ReshapeLike(x);
            statistics = [outputs[0], outputs[2]];
        }
        else
        {
            var ones = graph.Constant(Tensor.Of(Ones(groups), groups).As(x.Type));
            var zeros = graph.Constant(Tensor.Of(new float[groups], groups).As(x.Type));
            normal = graph.Op("InstanceNormalization", [x.Reshape(0, groups, -1), ones, zeros], ("epsilon", epsilon)).ReshapeLike(x);
        }
        var perChannel = Enumerable.Range(1, x.Shape!.Rank - 2).Select(i => (long)i).ToArray();
        return [(normal * scale.Unsqueeze(perChannel)) + bias.Unsqueeze(perChannel), .. statistics];
    }

    // xhat = (x - mean)/std;  dx = (g - mean(g) - xhat mean(g xhat))/std  with g = dy * scale, means over each group.
    public override Value?[] Gradient(NodeGradient g)
    {
        var (x, scale, xhat, inverse) = (g.In(0), g.In(1), g.Out(1), g.Out(2));
        var dy = g.Upstream(0)!;
        var rank = x.Shape!.Rank;
        var perChannel = Enumerable.Range(1, rank - 2).Select(i => (long)i).ToArray();
        long[] others = [0, .. Enumerable.Range(2, rank - 2).Select(i => (long)i)];
        Value? dx = null;
        if (g.Needs(0))
        {
            var rows = Cast((dy * scale.Unsqueeze(perChannel)).Reshape(xhat.Sizes), ElementType.Float);
            var normal = Cast(xhat, ElementType.Float);
            dx = Cast((rows - Mean(rows, [-1], true) - (normal * Mean(rows * normal, [-1], true))) * inverse, x.Type).Reshape(x.Sizes);
        }
        return [dx, g.Needs(1) ? Sum(dy * xhat.Reshape(x.Sizes), others) : null, g.Needs(2) ? Sum(dy, others) : null];
    }

    private static float[] Ones(long count)
    {
        var ones = new float[count];
        Array.Fill(ones, 1f);
        return ones;
    }
}
