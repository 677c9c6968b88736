using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Operators;

namespace OrtRlhf.Graph.Composites;

/// <summary>The identity, through which no gradient flows.</summary>
internal sealed class StopGradient : Composite
{
    public override void Infer(Node node) => ShapeRules.Same(node);

    public override Value[] Lower(Node node) => [node.Input(0)!];

    public override Value?[] Gradient(NodeGradient g) => [null];
}
