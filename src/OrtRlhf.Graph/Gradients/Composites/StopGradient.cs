namespace OrtRlhf.Graph.Gradients;

/// <summary>The identity, through which no gradient flows.</summary>
internal sealed class StopGradient : Composite
{
    public override Value[] Lower(Node node) => [node.Input(0)!];

    public override Value?[] Gradient(NodeGradient g) => [null];
}
