using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>The optimizer of a run's adapters: gradient clipping, AdamW, learning rate, moving average.</summary>
internal sealed class Learner
{
    private readonly TuningOptions options;
    private readonly ParameterBuffer adapters;
    private readonly AdamW optimizer;
    private readonly LearningRate rate;
    private readonly ExponentialMovingAverage? average;

    public Learner(TuningOptions options, ParameterBuffer adapters)
    {
        (this.options, this.adapters) = (options, adapters);
        Gradient = new Gradients(adapters.All.Length);
        optimizer = new AdamW(adapters.All.Length, new AdamWOptions { WeightDecay = options.WeightDecay });
        rate = new LearningRate
        {
            Peak = options.LearningRate!.Value,
            WarmupSteps = options.WarmupUpdates,
            Decay = options.LearningRateDecay,
            TotalSteps = options.TotalUpdates
        };
        rate.Validate();
        if (options.Ema > 0) average = new ExponentialMovingAverage(adapters.All, options.Ema, warmUp: true);
    }

    /// <summary>The gradient of the next step.</summary>
    public Gradients Gradient { get; }

    /// <summary>Takes a step along the gradient, and clears it. Gives its norm before clipping and the learning rate.</summary>
    /// <exception cref="UserError">The gradient is not finite.</exception>
    public (double Norm, double Rate) Step()
    {
        var norm = Gradient.ClipByGlobalNorm(options.MaxGradientNorm);
        var learningRate = rate.At(optimizer.StepCount);
        optimizer.Step(adapters.All, Gradient.Values, learningRate);
        average?.Update(adapters.All);
        Gradient.Clear();
        return (norm, learningRate);
    }

    /// <summary>Runs something with the parameters that are evaluated and shipped: the moving average where there is one.</summary>
    public void AsShipped(Action action)
    {
        using var kept = average is null ? null : adapters.Keep();
        average?.Values.CopyTo(adapters.All);
        action();
    }

    /// <summary>The state as tensors.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> Snapshot() =>
        optimizer.Snapshot().Concat(average?.Snapshot() ?? new Dictionary<string, float[]>())
            .Select(entry => KeyValuePair.Create(entry.Key, Tensor.Of(entry.Value, entry.Value.Length)));

    /// <summary>Replaces the state.</summary>
    /// <exception cref="UserError">It is of another optimizer, model or rank.</exception>
    public void Restore(IReadOnlyDictionary<string, Tensor> tensors)
    {
        var snapshot = tensors.ToDictionary(entry => entry.Key, entry => entry.Value.ToFloats());
        optimizer.Restore(snapshot);
        average?.Restore(snapshot);
    }
}
