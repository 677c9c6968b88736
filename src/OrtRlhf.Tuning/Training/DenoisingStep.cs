using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Training;

/// <summary>A clean latent to be noised and denoised once.</summary>
/// <param name="Latent">x0, [C*H*W].</param>
/// <param name="Prompt">Its prompt.</param>
/// <param name="Time">How much noise, as in <see cref="GaussianStep.Time"/>.</param>
/// <param name="Noise">Key of the noise; both sides of a pair have the same.</param>
/// <param name="Weight">How much it counts; of a loss with labels the label.</param>
internal sealed record NoisedSample(ReadOnlyMemory<float> Latent, string Prompt, double Time, Philox Noise, float Weight = 1);

/// <summary>
/// Gradients of a loss on the forward process: clean latents are noised, and the denoiser answers for them, without guidance. For every
/// loss that is made of
/// <see cref="DenoisingErrors"/>; see <see cref="TrainingStep"/>.
/// </summary>
internal sealed class DenoisingStep : IDisposable
{
    private readonly ImageModel _model;
    private readonly Func<double, ForwardStep> _forward;
    private readonly TrainingStep _step;

    /// <summary>Builds the training graph and loads it.</summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="text">Embeddings of the prompts.</param>
    /// <param name="microBatch">Samples that the workers run together.</param>
    /// <param name="withReference">Whether the loss takes the output without adapters, which the graph then computes, too.</param>
    /// <param name="loss">Writes the loss; the errors have the samples' weights.</param>
    /// <param name="settings">Device, threads, workers.</param>
    /// <param name="paired">As in <see cref="TrainingStep"/>.</param>
    /// <exception cref="Graph.UserError">The graph cannot be differentiated or run.</exception>
    public DenoisingStep(
        Policy policy, TextEmbeddings text, int microBatch, bool withReference, Func<DenoisingErrors, TrainingLoss> loss,
            SessionSettings settings, bool paired = false)
    {
        (_model, _forward) = (policy.Model, policy.Model.Forward());
        _step = new(policy, text, guided: false, microBatch, ["weight"], batch => policy.TrainingGraphOf(
            batch, 1, withReference, o => loss(DenoisingErrors.Inputs(o.Output, o.Reference, weighted: true)), settings.Gradients),
                settings, paired);
    }

    /// <summary>Adds the gradient of the mean loss over all samples to a sum.</summary>
    /// <inheritdoc cref="TrainingStep.Accumulate"/>
    public StepMetrics Accumulate(IReadOnlyList<NoisedSample> samples, Gradients sum, CancellationToken cancellation = default) =>
        _step.Accumulate([.. samples.Select(Row)], sum, 1, cancellation);

    /// <summary>
    /// A time to train at: evenly drawn from a diffusion model's timesteps; of a flow evenly, then shifted as those of sampling are.
    /// </summary>
    /// <param name="key">Key of the draw.</param>
    public double Time(Philox key)
    {
        Span<float> share = stackalloc float[1];
        (key with { Step = RandomStep.Timesteps }).FillUniform(share);
        return _model.Flow is { } flow ? flow.Time(flow.Shift(1 - share[0]))
            : Math.Floor(share[0] * (double)_model.Scheduler!.TrainTimesteps);
    }

    /// <inheritdoc cref="TrainingStep.Reset"/>
    public void Reset() => _step.Reset();

    /// <inheritdoc/>
    public void Dispose() => _step.Dispose();

    private TrainingRow Row(NoisedSample sample)
    {
        var at = _forward(sample.Time);
        float[] noise = new float[sample.Latent.Length], x = new float[noise.Length], target = new float[noise.Length];
        sample.Noise.FillGaussian(noise);
        at.AddNoise(sample.Latent.Span, noise, x);
        at.Target(sample.Latent.Span, noise, target);
        return new(new(sample.Prompt, x, at.Time), ("target", target), TrainingRow.Number("weight", sample.Weight));
    }
}
