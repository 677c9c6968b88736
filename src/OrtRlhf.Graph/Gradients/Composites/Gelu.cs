using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// x Phi(x), Phi the distribution function of a standard Gaussian. Forward it is spelled as ONNX Runtime knows it, which makes one operator
/// of it; the gradient
/// takes Phi again, so that nothing but x is kept. Source: Hendrycks and Gimpel, 2016.
/// </summary>
internal sealed class Gelu : Composite
{
    public override Value[] Lower(Node node)
    {
        var x = node.Input(0)!;
        return [x * (Erf(x / Math.Sqrt(2)) + 1) * 0.5];
    }

    public override Value?[] Gradient(NodeGradient g) => [g.Upstream(0)! * Elementwise.GeluSlope(g.In(0))];
}
