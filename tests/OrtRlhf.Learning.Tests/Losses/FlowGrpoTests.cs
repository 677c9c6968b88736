using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Losses;

public sealed class FlowGrpoTests
{
    private static readonly SamplerTable Table = FlowTable.Build(new(new() { Shift = 3 }), new());

    [Theory, NeedsGolden("sd3-tiny")]
    [InlineData("nocfg")]
    [InlineData("cfg_full")]
    [InlineData("cfg_uncond_detached")]
    public void Loss_GoldenTransitions_MatchesReference(string mode)
    {
        var golden = new GoldenFile("sd3-tiny/lora_golden.safetensors");
        var expected = GoldenFile.Json("sd3-tiny/golden.json").GetProperty("lora_golden").GetProperty("values")
            .GetProperty($"flow.{mode}.loss_kl_std");
        GaussianStep[] steps = [Table.Steps[2], Table.Steps[6]];
        var x = golden.Floats("flow.x_t");
        // The reference's velocity is not stored, its mean is.
        var reference = golden.Floats($"flow.{mode}.mu_ref").Select((mu, i) =>
            (float)((mu - steps[i / 2048].CX * x[i]) / steps[i / 2048].CM)).ToArray();
        var batch = new PolicyGraph.Batch(
            [2, 8, 16, 16], golden.Floats($"flow.{mode}.velocity"), x, golden.Floats($"flow.{mode}.x_prev"),
                [.. steps.Select(s => (float)s.CX)],
            [.. steps.Select(s => (float)s.CM)], [.. steps.Select(s => (float)s.Sigma)], golden.Floats($"flow.{mode}.old_log_prob"),
            golden.Floats("flow.advantage"), reference);
        var result = PolicyGraph.Run(batch, t => FlowGrpo.Loss(t, new() { ClipRange = 0.2 }));

        Assert.Equal(expected.GetProperty("loss_fp64").GetDouble(), result["loss"][0], 1e-5);
        Assert.Equal(expected.GetProperty("kl").GetDouble(), result["kl"][0], 1e-5);
        Assert.Equal(expected.GetProperty("ratio").EnumerateArray().Average(r => r.GetDouble()), result["ratio"][0], 2e-5);
        Close.To(golden.Floats($"flow.{mode}.log_prob"), result["log_prob"], 2e-5);
    }

    [Theory]
    [InlineData(0.9)]
    [InlineData(0.01)]
    public void Loss_MatchesFormulaAndFiniteDifference(double clip)
    {
        const int B = 2, N = 12;
        float[] Draw(uint sample)
        {
            var values = new float[B * N];
            new Philox(8, 0, sample, 0).FillGaussian(values);
            return values;
        }
        GaussianStep[] steps = [Table.Steps[1], Table.Steps[4]];
        var (output, x, reference, advantage) = (Draw(1), Draw(2), Draw(3), new float[] { 1.5f, -0.8f });
        var next = output.Select((m, i) => (float)(steps[i / N].CX * x[i] + steps[i / N].CM * m + steps[i / N].Sigma * Draw(4)[i]))
            .ToArray();
        double Logp(float[] m, int b) =>
            GaussianLogProb.OfStep(x.AsSpan(b * N, N), m.AsSpan(b * N, N), next.AsSpan(b * N, N), steps[b]);
        // Ratios of about 1.05 and 0.95: in the trust region of the first case, outside that of the second.
        float[] old = [(float)Logp(output, 0) - 0.05f, (float)Logp(output, 1) + 0.05f];
        double Formula(float[] m) => Enumerable.Range(0, B).Average(b =>
        {
            var squares = Enumerable.Range(b * N, N).Average(i => Math.Pow(next[i] - steps[b].CX * x[i] - steps[b].CM * m[i], 2));
            var r = Math.Exp(-squares / (2 * Math.Pow(steps[b].Sigma, 2)) - Math.Log(steps[b].Sigma) - 0.5 * Math.Log(2 * Math.PI)
                - old[b]);
            var kl = Enumerable.Range(b * N, N).Average(i =>
                Math.Pow(steps[b].CM * ((double)m[i] - reference[i]), 2)) / (2 * Math.Pow(steps[b].Sigma, 2));
            return Math.Max(-advantage[b] * r, -advantage[b] * Math.Clamp(r, 1 - clip, 1 + clip)) + 0.04 * kl;
        });
        var batch = new PolicyGraph.Batch(
            [B, 3, 2, 2], output, x, next, [.. steps.Select(s => (float)s.CX)], [.. steps.Select(s => (float)s.CM)],
            [.. steps.Select(s => (float)s.Sigma)], old, advantage, reference);
        var result = PolicyGraph.Run(batch, t => FlowGrpo.Loss(t, new() { ClipRange = clip }));
        Assert.Equal(clip < 0.05 ? 1 : 0, result["clip_fraction"][0]);
        LossGraph.Check(result, output, Formula);
    }

    // Flow-DPO is Diffusion-DPO with the velocity as its target: outputs that have the recorded errors of both models.
    [Fact, NeedsGolden("sd3-tiny")]
    public void FlowDpo_GoldenErrors_MatchesReference()
    {
        var golden = new GoldenFile("sd3-tiny/lora_golden.safetensors");
        var expected = GoldenFile.Json("sd3-tiny/golden.json").GetProperty("lora_golden").GetProperty("values").GetProperty("dpo");
        var target = golden.Floats("dpo.target");
        // Off by normal numbers: equal ones would round in the same direction in every sum.
        var z = new float[target.Length];
        new Philox(3, 0, 0, 0).FillGaussian(z);
        double[] squares = [z[..2048].Average(e => (double)e * e), z[2048..].Average(e => (double)e * e)];
        float[] Output(string name)
        {
            var losses = golden.Floats(name);
            return [.. target.Select((v, i) => (float)(v + z[i] * Math.Sqrt(losses[i / 2048] / squares[i / 2048])))];
        }
        var values = new Dictionary<string, float[]>
        {
            ["output"] = Output("dpo.model_losses"),
            ["reference"] = Output("dpo.ref_losses"),
            ["target"] = target
        };
        var result = LossGraph.Run([2, 8, 16, 16], values, m => Dpo.Loss(
            DenoisingErrors.Inputs(m, m.Graph.Input("reference", ElementType.Float, 2, 8, 16, 16)),
                new() { Beta = expected.GetProperty("beta").GetDouble() }));
        Assert.Equal(expected.GetProperty("loss_fp64").GetDouble(), result["loss"][0], 2e-3); // beta makes single precision visible
    }

    [Fact]
    public void Loss_Faults_AreNamed()
    {
        var message = Assert.Throws<UserError>(() => new FlowGrpoLossOptions
        {
            ClipRange = 0,
            AdvantageClip = 0,
            KlWeight = -1,
            GroupSize = 1,
            LearningRate = 0
        }.Validate()).Message;
        Assert.All(["clip range", "advantage clip", "KL weight", "group size", "learning rate"], name => Assert.Contains(name, message));
        var m = new OnnxGraph("loss").Input("output", ElementType.Float, 2, 1, 2, 2);
        var transition = PolicyTransition.Inputs(m, m.Graph.Input("sample", ElementType.Float, 2, 1, 2, 2), false);
        Assert.Contains("reference", Assert.Throws<ArgumentException>(() => FlowGrpo.Loss(transition, new())).Message);
    }
}
