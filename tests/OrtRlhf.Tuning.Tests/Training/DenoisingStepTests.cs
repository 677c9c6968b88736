using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Tests.Runs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Tests.Training;

/// <summary>A tiny policy that is not the base model, and pairs of latents.</summary>
public sealed class DenoisingStepTests : IDisposable
{
    private static readonly SessionSettings Settings = new() { Threads = 1 };
    private readonly Policy policy = Policy.Create(ImageModel.Open(TinyRun.Model), new() { Rank = 2 }, 3);
    private readonly TextEmbeddings text;
    private readonly NoisedSample[] pairs;

    public DenoisingStepTests()
    {
        new Philox(4, 0, 0, 0).FillGaussian(policy.Adapters.All);
        foreach (ref var value in policy.Adapters.All) value *= 0.2f;
        text = new TextEmbeddings(policy.Model, Settings, new());
        pairs = [.. Enumerable.Range(0, 10).Select(i =>
            new NoisedSample(Latent((uint)i), i / 2 % 2 == 0 ? "a cat" : "a dog", 90 * (i / 2), new(1, 0, (uint)(i / 2), 0), 1 + (i / 2)))];
    }

    public void Dispose()
    {
        text.Dispose();
        policy.Dispose();
    }

    [Fact]
    public void Accumulate_Pairs_DoNotDependOnTheMicroBatch()
    {
        var (two, metrics) = Run(2, paired: true, e => Dpo.Loss(e, new() { Beta = 5 }));
        foreach (var batch in (int[])[1, 4, 6])
        {
            var (other, same) = Run(batch, paired: true, e => Dpo.Loss(e, new() { Beta = 5 }));
            Assert.InRange(Relative(other, two), 0, 1e-4);
            Assert.Equal(metrics.Means["loss"], same.Means["loss"], 1e-5);
        }
        // Whoever is preferred must matter: turned round, the gradient points the other way where the margin is small.
        var turned = Run(4, paired: true, e => Dpo.Loss(e, new() { Beta = 0.01 }), pairs.Chunk(2).SelectMany(p => p.Reverse()));
        var straight = Run(4, paired: true, e => Dpo.Loss(e, new() { Beta = 0.01 }));
        Assert.InRange(Relative([.. turned.Gradient.Select(g => -g)], straight.Gradient), 0, 0.05);
    }

    [Fact]
    public void Accumulate_Weights_AreThoseOfSingleSamples()
    {
        var sum = new float[policy.Adapters.All.Length];
        foreach (var sample in pairs)
        {
            var (one, _) = Run(1, paired: false, Mse.Loss, [sample]);
            for (var i = 0; i < sum.Length; i++) sum[i] += one[i] / pairs.Length;
        }
        Assert.InRange(Relative(Run(4, paired: false, Mse.Loss).Gradient, sum), 0, 1e-4);
    }

    [Fact]
    public void Accumulate_Kto_FilledUpRows_DoNotCount()
    {
        var labelled = pairs.Take(5).Select((p, i) => p with { Weight = i % 2 == 0 ? 1 : -1 });
        var (five, exact) = Run(5, paired: false, Loss, labelled);
        var (eight, filled) = Run(8, paired: false, Loss, labelled);
        Assert.InRange(Relative(eight, five), 0, 1e-4);
        Assert.Equal(exact.Means["loss"], filled.Means["loss"], 1e-5);

        static TrainingLoss Loss(DenoisingErrors e) => Kto.Loss(e, e.Weight!, new() { Beta = 5 });
    }

    [Fact]
    public void Accumulate_BaseModel_IsItsOwnReference()
    {
        policy.Adapters.All.Clear();
        var (_, metrics) = Run(4, paired: true, e => Dpo.Loss(e, new() { Beta = 2000 }));
        Assert.Equal(metrics.Means["reference_mse"], metrics.Means["mse"], 1e-6);
        Assert.Equal(Math.Log(2) * pairs.Average(p => p.Weight), metrics.Means["loss"], 1e-4);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Accumulate_MatchesFiniteDifference(bool dpo)
    {
        Func<DenoisingErrors, TrainingLoss> loss = dpo ? e => Dpo.Loss(e, new() { Beta = 20 }) : Mse.Loss;
        var (gradient, _) = Run(4, dpo, loss);
        var theta = policy.Adapters.All.ToArray();
        const float h = 0.01f;
        Assert.Equal(1, (At(h) - At(-h)) / (2 * h) / Gradients.Norm(gradient), 0.03);

        double At(float step)
        {
            for (var i = 0; i < theta.Length; i++) policy.Adapters.All[i] = theta[i]
                + (float)(step * gradient[i] / Gradients.Norm(gradient));
            return Run(4, dpo, loss).Metrics.Means["loss"];
        }
    }

    private (float[] Gradient, StepMetrics Metrics) Run(int microBatch, bool paired, Func<DenoisingErrors, TrainingLoss> loss,
        IEnumerable<NoisedSample>? samples = null)
    {
        using var step = new DenoisingStep(policy, text, microBatch, withReference: true, loss, Settings, paired);
        var sum = new Gradients(policy.Adapters.All.Length);
        var metrics = step.Accumulate([.. samples ?? pairs], sum);
        return (sum.Values.ToArray(), metrics);
    }

    private float[] Latent(uint sample)
    {
        var values = new float[policy.Model.Latent.Count];
        new Philox(2, 0, sample, 0).FillGaussian(values);
        return values;
    }

    private static double Relative(float[] a, float[] b) => Gradients.Norm([.. a.Zip(b, (x, y) => x - y)]) / Gradients.Norm(b);
}
