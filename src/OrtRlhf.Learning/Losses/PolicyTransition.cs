using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>
/// B recorded transitions as values of a training graph, and the expressions that all policy gradients share. The transition is
/// the Gaussian of <see cref="Schedulers.GaussianStep"/>, <c>x' ~ N(mu, sigma^2 I)</c> with <c>mu = cX*x + cM*m</c>.
/// </summary>
/// <param name="Output">m, the policy's output after guidance, [B, C, H, W].</param>
/// <param name="X">x, the latent before the step, [B, C, H, W].</param>
/// <param name="Next">x', the latent that was drawn, [B, C, H, W].</param>
/// <param name="CX">cX of each step, [B].</param>
/// <param name="CM">cM of each step, [B].</param>
/// <param name="Sigma">sigma of each step, [B], &gt; 0.</param>
/// <param name="OldLogProb">log p(x'|x) of the policy that drew x', nats as a mean over elements, [B].</param>
/// <param name="Advantage">Advantage of the trajectory, clipped, [B].</param>
/// <param name="Reference">The reference policy's output at x, guided, [B, C, H, W]; null when there is no KL term.</param>
/// <param name="Weight">How much each transition counts in the KL term, [B]: 1, or 0 for one that only fills a batch up; null where all
/// count.</param>
public sealed record PolicyTransition(
    Value Output, Value X, Value Next, Value CX, Value CM, Value Sigma, Value OldLogProb, Value Advantage, Value? Reference = null,
        Value? Weight = null)
{
    /// <summary>Declares the recorded fields as inputs of the policy's graph, under the names below.</summary>
    /// <remarks>
    /// <c>next_sample</c> [B, C, H, W]; <c>c_x</c>, <c>c_m</c>, <c>sigma</c>, <c>old_log_prob</c>, <c>advantage</c> [B];
    /// <c>reference</c> [B, C, H, W] if asked for; all float.
    /// </remarks>
    /// <param name="output">m, with a static shape.</param>
    /// <param name="x">x, usually the model's own <c>sample</c> input.</param>
    /// <param name="withReference">Whether the reference's output is an input too.</param>
    public static PolicyTransition Inputs(Value output, Value x, bool withReference)
    {
        var graph = output.Graph;
        Dim[] latent = [.. output.Sizes.Select(size => (Dim)size)];
        Value PerSample(string name) => graph.Input(name, ElementType.Float, latent[0]);
        return new(
            output, x, graph.Input("next_sample", ElementType.Float, latent), PerSample("c_x"), PerSample("c_m"), PerSample("sigma"),
            PerSample("old_log_prob"), PerSample("advantage"), withReference ? graph.Input("reference", ElementType.Float, latent) : null);
    }

    /// <summary><c>logp = mean[-(x' - mu)^2]/(2 sigma^2) - ln sigma - ln sqrt(2 pi)</c>, [B].</summary>
    public Value LogProb() => LogProb(Output);

    /// <summary>The same of the reference, [B].</summary>
    /// <exception cref="InvalidOperationException">The transition has no reference.</exception>
    public Value ReferenceLogProb() => LogProb(Reference ?? throw new InvalidOperationException("the transition has no reference output"));

    private Value LogProb(Value m)
    {
        var rank = m.Shape!.Rank;
        var mu = CX.PerSample(rank) * X + CM.PerSample(rank) * m;
        return -MeanPerSample(Square(Next - mu)) / (2 * Square(Sigma)) - Log(Sigma) - 0.5 * Math.Log(2 * Math.PI);
    }

    /// <summary>KL divergence to the reference's step, <c>cM^2*mean[(m - mRef)^2]/(2 sigma^2)</c>, nats per element, [B].</summary>
    /// <exception cref="InvalidOperationException">The transition has no reference.</exception>
    public Value Kl() => Reference is null
        ? throw new InvalidOperationException("the transition has no reference output")
        : Square(CM) * MeanPerSample(Square(Output - Reference)) / (2 * Square(Sigma));

    /// <summary>
    /// The metrics of a policy gradient: <c>log_prob</c> [B] (to be recorded as the old one in the first pass), <c>ratio</c> (mean of
    /// r = exp(logp - old)), <c>ratio_deviation</c> (max |r - 1|), <c>approx_kl</c> (mean (logp - old)^2 / 2, nats per element).
    /// </summary>
    internal Dictionary<string, Value> Metrics(Value logp, Value ratio) => new()
    {
        ["log_prob"] = logp,
        ["ratio"] = Mean(ratio),
        ["ratio_deviation"] = ratio.Graph.Op("ReduceMax", [Abs(ratio - 1)], ("keepdims", 0L)),
        ["approx_kl"] = Mean(Square(logp - OldLogProb)) * 0.5,
    };

    /// <summary>Adds <c>weight*mean KL</c> to a loss and reports <c>kl</c>, if there is a reference.</summary>
    internal Value AddKl(Value loss, double weight, Dictionary<string, Value> metrics)
    {
        if (Reference is null)
            return loss;
        var kl = Kl();
        metrics["kl"] = Mean(kl);
        return weight == 0 ? loss : loss + weight * Mean(Weight is null ? kl : Weight * kl);
    }
}
