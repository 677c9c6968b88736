using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>x s(x), s the sigmoid. Outputs: y and s, which the gradient uses. Source: Elfwing et al., 2017.</summary>
internal sealed class Silu : Composite
{
    public override Value[] Lower(Node node)
    {
        var s = Sigmoid(node.Input(0)!);
        return [node.Input(0)! * s, s];
    }

    // dx = dy s (1 + x (1 - s)), with x (1 - s) = x s(-x) spelled as ONNX Runtime knows it, which makes one operator of it.
    public override Value?[] Gradient(NodeGradient g)
    {
        var (x, s) = (g.In(0), g.Out(1));
        return [g.Upstream(0)! * (((x * Sigmoid(x * -1)) + 1) * s)];
    }
}
