namespace OrtRlhf.Graph.Gradients;

/// <summary>What gradients prefer where there is a choice.</summary>
public sealed record GradientOptions
{
    /// <summary>
    /// Weights of convolutions are used as they lie (ConvTranspose) for the gradients of their inputs, rather than a copy turned by 180
    /// degrees, which runs
    /// 4 to 8 percent faster on a CPU and takes the memory of those weights once more. Default false.
    /// </summary>
    public bool SharedWeights { get; init; }

    /// <summary>
    /// Attention's probabilities are taken again rather than kept, whatever their size: S*T numbers a head less in memory, 4 percent
    /// slower. Default false.
    /// </summary>
    public bool RecomputeScores { get; init; }

    /// <summary>
    /// Layers that are less work in parts are taken apart before they are differentiated (<see cref="Passes.SplitUpsampling"/>,
    /// <see cref="Passes.SplitGates"/>):
    /// 2 to 6 percent faster on a CPU; the weights of the convolutions become 16/9 as large. Default false.
    /// </summary>
    public bool SplitLayers { get; init; }
}
