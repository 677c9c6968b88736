using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Losses;

public sealed class DdpoTests
{
    private static PolicyGraph.Batch Golden(string model)
    {
        var golden = new GoldenFile($"{model}/lora_golden.safetensors");
        var table = DdimTable.Build(SchedulerConfigJson.Read(GoldenFile.Locate($"{model}/scheduler/scheduler_config.json")), 8, 1);
        var steps = golden.Longs("ddpo.timestep").Select(t => table.Steps.Single(s => s.Timestep == t)).ToArray();
        var side = model == "sd1-tiny" ? 16 : 8;
        return new(
            [2, 4, side, side], golden.Floats("ddpo.guided_output"), golden.Floats("ddpo.x_t"), golden.Floats("ddpo.x_prev"),
            [.. steps.Select(s => (float)s.CX)], [.. steps.Select(s => (float)s.CM)], [.. steps.Select(s => (float)s.Sigma)],
            golden.Floats("ddpo.old_log_prob"), golden.Floats("ddpo.advantage"));
    }

    [Theory]
    [InlineData("sd1-tiny", "ddpo.clip1e-4")]
    [InlineData("sd1-tiny", "ddpo.clip0.2")]
    [InlineData("sd2-tiny", "ddpo.clip1e-4")]
    [InlineData("sd2-tiny", "ddpo.clip0.2")]
    public void Loss_GoldenTransitions_MatchesReference(string model, string name)
    {
        var expected = GoldenFile.Json($"{model}/golden.json").GetProperty("lora_golden").GetProperty("values").GetProperty(name);
        var clip = expected.GetProperty("clip_range").GetDouble();
        var batch = Golden(model);
        var result = PolicyGraph.Run(batch, t => Ddpo.Loss(t, new() { ClipRange = clip }));

        Assert.Equal(expected.GetProperty("loss_fp64").GetDouble(), result["loss"][0], 1e-5);
        Assert.Equal(expected.GetProperty("approx_kl").GetDouble(), result["approx_kl"][0], 1e-6);
        Assert.Equal(expected.GetProperty("clipfrac").GetDouble(), result["clip_fraction"][0], 1e-7);
        var ratios = expected.GetProperty("ratio").EnumerateArray().Select(r => r.GetDouble()).ToArray();
        Assert.Equal(ratios.Average(), result["ratio"][0], 1e-5);
        Assert.Equal(ratios.Max() - 1, result["ratio_deviation"][0], 1e-5);
        Close.To(new GoldenFile($"{model}/lora_golden.safetensors").Floats("ddpo.log_prob"), result["log_prob"], 3e-6);

        // The gradient by hand: dL/dm = -A r/(B N) * cM (x' - mu)/sigma^2 where the ratio is not clipped.
        var gradient = Enumerable.Range(0, batch.X.Length).Select(i =>
        {
            var b = i / (batch.X.Length / 2);
            var (A, r, n) = (batch.Advantage[b], ratios[b], batch.X.Length);
            var clipped = Math.Max(-A * r, -A * Math.Clamp(r, 1 - clip, 1 + clip)) > -A * r;
            var mu = (double)batch.CX[b] * batch.X[i] + (double)batch.CM[b] * batch.Output[i];
            return clipped ? 0 : (float)(-A * r / n * batch.CM[b] * (batch.Next[i] - mu) / Math.Pow(batch.Sigma[b], 2));
        }).ToArray();
        Close.To(gradient, result["gradient"], 1e-5, "gradient");
    }

    [Fact]
    public void LogProb_Graph_MatchesTheKernel()
    {
        var batch = Golden("sd1-tiny");
        var logp = PolicyGraph.Run(batch, t => Ddpo.Loss(t, new()))["log_prob"];
        for (var b = 0; b < 2; b++)
        {
            Range row = (b * 1024)..((b + 1) * 1024);
            var step = new GaussianStep(0, batch.CX[b], batch.CM[b], batch.Sigma[b]);
            Assert.Equal(GaussianLogProb.OfStep(batch.X.AsSpan(row), batch.Output.AsSpan(row), batch.Next.AsSpan(row), step),
                logp[b], 1e-6);
        }
    }

    [Fact]
    public void Loss_WithReference_AddsTheKlAndItsGradient()
    {
        var batch = Golden("sd1-tiny");
        var plain = PolicyGraph.Run(batch, t => Ddpo.Loss(t, new()));
        var reference = new float[batch.Output.Length];
        new Philox(1, 0, 0, 0).FillGaussian(reference);
        var result = PolicyGraph.Run(batch with { Reference = reference }, t => Ddpo.Loss(t, new() { KlWeight = 0.5 }));

        var kl = new double[2];
        for (var b = 0; b < 2; b++)
        {
            Range row = (b * 1024)..((b + 1) * 1024);
            kl[b] = GaussianLogProb.Kl(batch.Output.AsSpan(row), reference.AsSpan(row), new(0, batch.CX[b], batch.CM[b], batch.Sigma[b]));
        }
        Assert.Equal(kl.Average(), result["kl"][0], 1e-5 * kl.Average());
        Assert.Equal(plain["loss"][0] + 0.5 * kl.Average(), result["loss"][0], 1e-5 * kl.Average());
        var added = batch.Output.Select((m, i) =>
            plain["gradient"][i] + (float)(0.5 * Math.Pow(batch.CM[i / 1024] / batch.Sigma[i / 1024],
                2) * (m - reference[i]) / batch.Output.Length)).ToArray();
        Close.To(added, result["gradient"], 1e-5);
    }

    [Fact]
    public void Loss_FirstPass_HasRatioOneAndTheScoreFunctionsGradient()
    {
        var batch = Golden("sd1-tiny");
        var first = PolicyGraph.Run(batch, t => Ddpo.Loss(t, new()))["log_prob"];
        batch = batch with { OldLogProb = first };
        var ddpo = PolicyGraph.Run(batch, t => Ddpo.Loss(t, new()));
        var reinforce = PolicyGraph.Run(batch, t => Reinforce.Loss(t, new()));
        Assert.Equal(0, ddpo["ratio_deviation"][0]);
        Close.To(reinforce["gradient"], ddpo["gradient"], 1e-6);
    }

    [Fact]
    public void Validate_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() =>
            new DdpoLossOptions { ClipRange = 0, AdvantageClip = double.NaN, KlWeight = -1, LearningRate = 0 }.Validate()).Message;
        Assert.All(["clip range", "advantage clip", "KL weight", "learning rate"], name => Assert.Contains(name, message));
        Assert.DoesNotContain('\n', message);
    }
}
