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

/// <summary>A tiny policy that is not the base model, and transitions of its own.</summary>
public sealed class PolicyGradientStepTests : IDisposable
{
    private static readonly SessionSettings Settings = new() { Threads = 1 };
    private readonly Policy policy;
    private readonly Pipeline pipeline;
    private readonly Transition[] transitions;

    public PolicyGradientStepTests()
    {
        policy = Policy.Create(ImageModel.Open(TinyRun.Model), new() { Rank = 2 }, 3);
        foreach (var name in policy.Adapters.Names.Where(name => name.EndsWith("lora_B.weight", StringComparison.Ordinal)))
        {
            new Philox(4, 0, (uint)name.Length, 0).FillGaussian(policy.Adapters[name]);
            foreach (ref var value in policy.Adapters[name]) value *= 0.1f;
        }
        pipeline = new Pipeline(policy, new SamplingOptions { Steps = 4, GuidanceScale = 2, BatchSize = 4 }, Settings);
        var images = pipeline.Sample([.. Enumerable.Range(0, 5).Select(i =>
            new SampleRequest(i % 2 == 0 ? "a cat" : "a dog", 9, 1, (uint)i))]);
        transitions = [.. images.SelectMany((image, i) =>
            pipeline.Table.RequireDensity().Select(s => new Transition(image.Trajectory, s, i - 1.7f)))];
    }

    public void Dispose()
    {
        pipeline.Dispose();
        policy.Dispose();
    }

    [Fact]
    public void Accumulate_FreshSamples_RatioIsOne()
    {
        var (_, metrics) = Run(4, 2, Ddpo);
        Assert.InRange(metrics.RatioDeviation, 0, 1e-5);
        // With other guidance the trainer is another policy: the check must see it.
        Assert.InRange(Run(4, 1, Ddpo).Metrics.RatioDeviation, 1e-4, double.PositiveInfinity);
    }

    [Fact]
    public void Accumulate_MicroBatch_DoesNotMatter_WeightDoes()
    {
        var (one, _) = Run(1, 2, Ddpo);
        var (seven, _) = Run(7, 2, Ddpo);
        Assert.InRange(Relative(one, seven), 0, 1e-4);
        var (half, _) = Run(7, 2, Ddpo, weight: 0.5);
        Assert.InRange(Relative(Array.ConvertAll(half, value => 2 * value), seven), 0, 1e-6);
    }

    [Fact]
    public void Accumulate_ThreeWorkers_GivesTheSameGradientEachTime()
    {
        var settings = new SessionSettings { Threads = 3, Workers = 3 };
        var (one, alone) = Run(6, 2, Ddpo);
        var (three, together) = Run(6, 2, Ddpo, settings: settings);
        Assert.InRange(Relative(three, one), 0, 1e-4);
        Assert.Equal(alone.Means["loss"], together.Means["loss"], 1e-5);
        Assert.Equal(three, Run(6, 2, Ddpo, settings: settings).Gradient);
    }

    [Fact]
    public void Accumulate_Reinforce_MatchesFiniteDifference()
    {
        var (gradient, _) = Run(4, 2, Reinforce);
        DirectionalDifference(gradient, () => Run(4, 2, Reinforce).Metrics.Means["loss"]);
    }

    // Two pairs of a prompt's trajectories, of which the second counts four times as much; a micro-batch of six is filled up with a pair
    // that does not count.
    [Fact]
    public void Accumulate_D3po_MatchesFiniteDifference_HoweverPairsAreBatched()
    {
        Transition[] pairs = [.. new[] { (2, 0, 0.5f), (1, 3, 2f) }.SelectMany(pair => Of(pair.Item1).Zip(Of(pair.Item2))
            .SelectMany(both => new[] { both.First with { Advantage = pair.Item3 }, both.Second with { Advantage = pair.Item3 } }))];
        var (gradient, metrics) = Run(2);
        Assert.InRange(metrics.RatioDeviation, 0, 1e-5); // to the policy that drew them; the loss compares with the base
        Assert.NotEqual(0, metrics.Means["margin"]);
        foreach (var (batch, workers) in new[] { (6, 1), (8, 1), (6, 2) }) Assert.InRange(Relative(Run(batch, workers).Gradient, gradient),
            0, 1e-4);
        var turned = Run(2, transitions: [.. pairs.Chunk(2).SelectMany(pair => pair.Reverse())]);
        Assert.True(turned.Metrics.Means["margin"] * metrics.Means["margin"] < 0);
        DirectionalDifference(gradient, () => Run(2).Metrics.Means["loss"]);

        Transition[] Of(int image) => [.. transitions.Where(t => t.Trajectory.Request.Sample == image)];

        (float[] Gradient, StepMetrics Metrics) Run(int batch, int workers = 1, Transition[]? transitions = null)
        {
            using var step = new PolicyGradientStep(
                policy, pipeline.Text, 2, batch, t => D3po.Loss(t, new() { Beta = 20, ClipRange = 0.99 }),
                    new() { Threads = workers, Workers = workers }, withReference: true, paired: true);
            var sum = new Gradients(policy.Adapters.All.Length);
            var metrics = step.Accumulate(transitions ?? pairs, sum);
            return (sum.Values.ToArray(), metrics);
        }
    }

    private void DirectionalDifference(float[] gradient, Func<double> value)
    {
        var theta = policy.Adapters.All.ToArray();
        var direction = Array.ConvertAll(gradient, g => (float)(g / Gradients.Norm(gradient)));
        const float h = 0.01f;
        var rise = (Loss(h) - Loss(-h)) / (2 * h);
        Assert.Equal(1, rise / Gradients.Norm(gradient), 0.02);

        double Loss(float step)
        {
            for (var i = 0; i < theta.Length; i++) policy.Adapters.All[i] = theta[i] + (step * direction[i]);
            var loss = value();
            theta.CopyTo(policy.Adapters.All);
            return loss;
        }
    }

    private static TrainingLoss Ddpo(PolicyTransition transition) => OrtRlhf.Learning.Losses.Ddpo.Loss(transition, new());

    private static TrainingLoss Reinforce(PolicyTransition transition) => OrtRlhf.Learning.Losses.Reinforce.Loss(transition, new());

    private static double Relative(float[] a, float[] b) => Gradients.Norm([.. a.Zip(b, (x, y) => x - y)]) / Gradients.Norm(b);

    private (float[] Gradient, StepMetrics Metrics) Run(int microBatch, double guidance, Func<PolicyTransition, TrainingLoss> loss,
        double weight = 1, SessionSettings? settings = null)
    {
        using var step = new PolicyGradientStep(policy, pipeline.Text, guidance, microBatch, loss, settings ?? Settings);
        var sum = new Gradients(policy.Adapters.All.Length);
        var metrics = step.Accumulate(transitions, sum, weight);
        return (sum.Values.ToArray(), metrics);
    }
}
