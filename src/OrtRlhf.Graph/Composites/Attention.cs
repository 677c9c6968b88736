using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Operators;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Composites;

/// <summary>
/// Attention. Outputs: o [..., S, e] and the probabilities p [..., S, T], which the gradient uses. The large matrix p is never transposed.
/// </summary>
internal sealed class Attention : Composite
{
    public override void Infer(Node node)
    {
        var (q, k, v) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        if (q.Shape is not { } sq || k.Shape is not { } sk || v.Shape is not { } sv) return;
        if (sq[-1].IsKnown && sk[-1].IsKnown && sq[-1] != sk[-1]) throw ShapeRules.Fault(node, "queries and keys of equal width");
        ShapeRules.Set(node, 0, q.Type, sq.With(-1, sv[-1]));
        ShapeRules.Set(node, 1, q.Type, sq.With(-1, sk[-2]));
    }

    public override Value[] Lower(Node node)
    {
        var (q, k, v) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        var scores = MatMul(q, (k * node.Attribute("scale", 1f)).T());
        if (node.Input(3) is { } mask) scores += mask;
        var p = Softmax(scores);
        return [MatMul(p, v), p];
    }

    // dV^T = dO^T P;  dS = P * (dO V^T - delta), delta = sum(dO * O) per row, both terms from one product [dO | -delta] [V | 1]^T;
    // dQ = scale dS K;  dK^T = scale Q^T dS.
    public override Value?[] Gradient(NodeGradient g)
    {
        var (q, k, v, o, p) = (g.In(0), g.In(1), g.In(2), g.Out(0), g.Out(1));
        var scale = (double)g.Node.Attribute("scale", 1f);
        var dO = g.Upstream(0)!;
        var dV = g.Needs(2) ? MatMul(dO.T(), p).T() : null;
        Value? dQ = null, dK = null, dMask = null;
        if (g.Needs(0) || g.Needs(1) || g.Needs(3))
        {
            var delta = Sum(dO * o, [-1], true);
            var column = q.Graph.Scalar(v.Type, 1).Expand(v.Shape!.With(-1, 1).Sizes);
            var dS = p * MatMul(Layout.Concat(-1, dO, -delta), Layout.Concat(-1, v, column).T());
            if (g.Needs(0)) dQ = MatMul(dS, k * scale);
            if (g.Needs(1)) dK = MatMul((q * scale).T(), dS).T();
            if (g.Needs(3)) dMask = dS;
        }
        return g.Node.Inputs.Count > 3 ? [dQ, dK, dV, dMask] : [dQ, dK, dV];
    }
}
