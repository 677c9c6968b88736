using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Operators;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Composites;

/// <summary>
/// x Phi(x), Phi the distribution function of a standard Gaussian. Forward it is spelled as ONNX Runtime knows it, which makes one operator of it; the gradient
/// takes Phi again, so that nothing but x is kept. Source: Hendrycks and Gimpel, 2016.
/// </summary>
internal sealed class Gelu : Composite
{
    public override void Infer(Node node) => ShapeRules.Same(node);

    public override Value[] Lower(Node node)
    {
        var x = node.Input(0)!;
        return [x * (Erf(x / Math.Sqrt(2)) + 1) * 0.5];
    }

    public override Value?[] Gradient(NodeGradient g) => [g.Upstream(0)! * Slope(g.In(0))];

    /// <summary>Phi(x) + x phi(x); with t = x/sqrt(2): Phi = (erf(t) + 1)/2 and x phi = t exp(-t^2)/sqrt(pi).</summary>
    public static Value Slope(Value x)
    {
        var t = x * (1 / Math.Sqrt(2)); // not x/sqrt(2), which a runtime would take for the one above, and keep
        return Half(Erf(t)) + (t * Exp((-0.5 * Math.Log(Math.PI)) - (t * t)));
    }

    /// <summary>(x + 1)/2 of x within -1 and 1, one pass over memory where there is an operator for it.</summary>
    private static Value Half(Value x) => x.Type == ElementType.Float ? x.Graph.Op("HardSigmoid", [x], ("alpha", 0.5f), ("beta", 0.5f)) : (x + 1) * 0.5;
}
