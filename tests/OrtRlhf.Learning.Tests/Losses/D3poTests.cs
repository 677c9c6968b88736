using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Losses;

/// <summary>The golden transitions as a pair: the first preferred to the second, with ln r of 3e-5 and 0.05.</summary>
public sealed class D3poTests
{
    private static readonly PolicyGraph.Batch Pair = Golden();

    [Theory]
    [InlineData(0.1, 0.1)]
    [InlineData(20, 0.1)]
    [InlineData(20, 0.02)] // the second ratio is clipped: it counts as ln 1.02 and gives no gradient
    public void Loss_GoldenTransitions_MatchesFormula(double beta, double clip)
    {
        var result = PolicyGraph.Run(Pair, t => D3po.Loss(t, new() { Beta = beta, ClipRange = clip }));
        double[] away = [.. result["log_prob"].Zip(Pair.OldLogProb, (now, old) => (double)now - old)];
        var clipped = Array.ConvertAll(away, x => Math.Clamp(x, Math.Log(1 - clip), Math.Log(1 + clip)));
        var margin = beta * (clipped[0] - clipped[1]);
        Assert.Equal(Math.Log(1 + Math.Exp(-margin)), result["loss"][0], 1e-5);
        Assert.Equal(margin, result["margin"][0], 1e-4);
        Assert.Equal(0, result["accuracy"][0]);
        Assert.Equal(clip < 0.05 ? 0.5 : 0, result["clip_fraction"][0]);

        // dL/dm = -beta sigmoid(-margin) * sign/N * cM (x' - mu)/sigma^2 where the ratio is not clipped.
        var n = Pair.X.Length / 2;
        var gradient = Enumerable.Range(0, Pair.X.Length).Select(i =>
        {
            var b = i / n;
            var mu = ((double)Pair.CX[b] * Pair.X[i]) + ((double)Pair.CM[b] * Pair.Output[i]);
            var ascent = Pair.CM[b] * (Pair.Next[i] - mu) / Math.Pow(Pair.Sigma[b], 2) / n;
            return clipped[b] != away[b] ? 0 : (float)(-beta / (1 + Math.Exp(margin)) * (b == 0 ? 1 : -1) * ascent);
        }).ToArray();
        Close.To(gradient, result["gradient"], 1e-5, "gradient");
    }

    [Fact]
    public void Loss_WithReference_ComparesWithItAndNotWithThePolicyThatDrew()
    {
        var reference = PolicyGraph.Run(Pair with { Reference = Pair.Output }, t => D3po.Loss(t, new() { Beta = 20 }));
        Assert.Equal(0, reference["margin"][0], 1e-7);
        Assert.Equal(0, reference["kl"][0]);
        Assert.Equal(Math.Log(2), reference["loss"][0], 1e-6);
        // The ratio stays that to the policy that drew.
        Assert.Equal(Math.Exp(0.05) - 1, reference["ratio_deviation"][0], 1e-3);
    }

    [Fact]
    public void Loss_FreshPair_HasReinforcesGradientWithHalfOfBeta()
    {
        var fresh = Pair with { OldLogProb = PolicyGraph.Run(Pair, t => D3po.Loss(t, new()))["log_prob"] };
        var d3po = PolicyGraph.Run(fresh with { Advantage = [3, 3] }, t => D3po.Loss(t, new() { Beta = 0.4 }));
        // A mean over one pair, and one over two samples.
        var reinforce = PolicyGraph.Run(fresh with { Advantage = [2 * 3 * 0.2f, -2 * 3 * 0.2f] }, t => Reinforce.Loss(t, new()));
        Close.To(reinforce["gradient"], d3po["gradient"], 1e-6);
        Assert.All(PolicyGraph.Run(fresh with { Advantage = [0, 0] }, t => D3po.Loss(t, new()))["gradient"], g => Assert.Equal(0, g));
    }

    [Fact]
    public void Validate_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() => new D3poLossOptions { Beta = 0, ClipRange = 1 }.Validate()).Message;
        Assert.All(["beta", "clip range"], name => Assert.Contains(name, message));
    }

    private static PolicyGraph.Batch Golden()
    {
        var golden = new GoldenFile("sd1-tiny/lora_golden.safetensors");
        var table = DdimTable.Build(SchedulerConfigJson.Read(GoldenFile.Locate("sd1-tiny/scheduler/scheduler_config.json")), 8, 1);
        var steps = golden.Longs("ddpo.timestep").Select(t => table.Steps.Single(s => s.Timestep == t)).ToArray();
        return new(
            [2, 4, 16, 16], golden.Floats("ddpo.guided_output"), golden.Floats("ddpo.x_t"), golden.Floats("ddpo.x_prev"),
            [.. steps.Select(s => (float)s.CX)], [.. steps.Select(s => (float)s.CM)], [.. steps.Select(s => (float)s.Sigma)],
                golden.Floats("ddpo.old_log_prob"), [1, 1]);
    }
}
