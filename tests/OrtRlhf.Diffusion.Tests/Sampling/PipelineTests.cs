using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Sampling;

public class PipelineTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };
    private static readonly SampleRequest[] Requests = [new("a cat", 7, 0, 0), new("a dog", 8, 0, 0), new("a cat", 9, 0, 0)];

    [Fact]
    public void Sample_DpmSolver_TakesTheTablesSteps()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        using var policy = Policy.OfBase(model);
        using var pipeline = new Pipeline(policy, new() { Sampler = SamplerKind.DpmSolver, Steps = 4 }, OneThread);
        var sampled = pipeline.Sample(Requests[..1])[0].Trajectory;

        using var denoiser = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, pipeline.Text, 3, OneThread);
        var table = DpmSolverTable.Build(model.Scheduler!, 4);
        float[] x = new float[model.Latent.Count], m = new float[x.Length], x0 = new float[x.Length];
        new Philox(7, 0, 0, RandomStep.InitialLatent).FillGaussian(x);
        for (var s = 0; s < 4; s++)
        {
            Assert.Equal(x, sampled.Latent(s).ToArray());
            denoiser.Run(x, [table.Rows[s].Timestep], ["a cat"], m);
            table.Step(s, x, m, x0);
        }
        Assert.Equal(x, sampled.Latent(4).ToArray());
        Assert.All(sampled.LogProbs, logp => Assert.True(double.IsNaN(logp)));
        Assert.True(double.IsNaN(pipeline.Kl([sampled])));
        Assert.Contains("DPM-Solver++", Assert.Throws<UserError>(() => pipeline.Table).Message);
    }

    [Theory]
    [InlineData(SamplerKind.Ddim, 1)]
    [InlineData(SamplerKind.Ddim, 0)]
    [InlineData(SamplerKind.DpmSolver, 1)]
    public void Sample_AnyBatchSize_GivesTheSameLatents(SamplerKind sampler, double eta)
    {
        using var folder = new TempFolder();
        using var policy = Policy.OfBase(ImageModel.Open(TinyModel.Write(folder.At("tiny"))));
        var options = new SamplingOptions { Sampler = sampler, Eta = eta, Steps = 3 };
        using var one = new Pipeline(policy, options with { BatchSize = 1 }, OneThread);
        using var all = new Pipeline(policy, options, OneThread);
        foreach (var (a, b) in one.Sample(Requests).Zip(all.Sample(Requests)))
        {
            Assert.Equal(a.Trajectory.Latent(0).ToArray(), b.Trajectory.Latent(0).ToArray());
            Assert.All(a.Trajectory.Latents.Zip(b.Trajectory.Latents), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
        }
    }

    [Fact]
    public void Sample_ThreeWorkers_GivesTheSameLatentsAndDivergence()
    {
        using var folder = new TempFolder();
        using var policy = Policy.Create(ImageModel.Open(TinyModel.Write(folder.At("tiny"))), new LoraOptions { Rank = 2 }, seed: 1);
        foreach (var name in policy.Adapters.Names) policy.Adapters[name].Fill(0.02f);
        var options = new SamplingOptions { Steps = 3, BatchSize = 4 };
        using var one = new Pipeline(policy, options, OneThread);
        using var three = new Pipeline(policy, options, new SessionSettings { Threads = 3, Workers = 3 });
        SampleRequest[] requests = [.. Enumerable.Range(0, 7).Select(i =>
            new SampleRequest(i % 2 == 0 ? "a cat" : "a dog", 1, 0, (uint)i))];
        var done = new List<int>();
        var (alone, together) = (one.Sample(requests), three.Sample(requests, done.Add));
        Assert.Equal((4, 7), (done.Count, done[^1]));
        foreach (var (a, b) in alone.Zip(together))
        {
            Assert.Equal(a.Trajectory.Request, b.Trajectory.Request);
            Assert.All(a.Trajectory.Latents.Zip(b.Trajectory.Latents), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
        }
        var (kl, other) = (one.Kl([.. alone.Select(a => a.Trajectory)]), three.Kl([.. alone.Select(a => a.Trajectory)]));
        Assert.InRange(kl, 1e-9, 1);
        Assert.Equal(1, other / kl, 1e-4);
    }

    [Fact]
    public void OfBase_DrawsWhatANewPolicyDraws()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        using var bare = Policy.OfBase(model);
        using var fresh = Policy.Create(model, new LoraOptions { Rank = 2 }, seed: 1);
        using var first = new Pipeline(bare, new() { Steps = 3 }, OneThread);
        using var second = new Pipeline(fresh, new() { Steps = 3 }, OneThread);
        foreach (var (a, b) in first.Sample(Requests).Zip(second.Sample(Requests)))
            Assert.All(a.Trajectory.Latents.Zip(b.Trajectory.Latents), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void Sample_NumbersNotFinite_ThrowsForUser()
    {
        using var folder = new TempFolder();
        using var policy = Policy.Create(ImageModel.Open(TinyModel.Write(folder.At("tiny"))), new LoraOptions { Rank = 2 }, seed: 1);
        policy.Adapters.All.Fill(float.NaN);
        using var pipeline = new Pipeline(policy, new() { Steps = 2 }, OneThread);
        Assert.Contains("model 'tiny': drew numbers that are not finite for \"a cat\"",
            Assert.Throws<UserError>(() => pipeline.Sample(Requests)).Message);
        using var workers = new Pipeline(policy, new() { Steps = 2, BatchSize = 2 }, new SessionSettings { Threads = 2 });
        Assert.Contains("drew numbers that are not finite", Assert.Throws<UserError>(() => workers.Sample(Requests)).Message);
    }
}
