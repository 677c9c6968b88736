using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Losses;

public sealed class ReinforceTests
{
    [Fact]
    public void Loss_Transitions_MatchesFormula()
    {
        const int n = 12;
        float[] m = new float[2 * n], x = new float[2 * n], next = new float[2 * n];
        new Philox(1, 0, 0, 0).FillGaussian(m);
        new Philox(1, 0, 1, 0).FillGaussian(x);
        new Philox(1, 0, 2, 0).FillGaussian(next);
        var batch = new PolicyGraph.Batch([2, 3, 2, 2], m, x, next, [1.1f, 0.9f], [-0.3f, 0.2f], [0.5f, 0.7f], [-1, -2], [1.5f, -0.5f]);
        var result = PolicyGraph.Run(batch, t => Reinforce.Loss(t, new()));
        var logp = Enumerable.Range(0, 2).Select(b => GaussianLogProb.OfStep(
            x.AsSpan(b * n, n), m.AsSpan(b * n, n), next.AsSpan(b * n, n), new(0, batch.CX[b], batch.CM[b], batch.Sigma[b]))).ToArray();
        Assert.Equal(-(1.5 * logp[0] - 0.5 * logp[1]) / 2, result["loss"][0], 1e-5);
        Assert.Equal((Math.Exp(logp[0] + 1) + Math.Exp(logp[1] + 2)) / 2, result["ratio"][0], 1e-5);

        // Finite differences of the loss by every element of the output.
        double Loss(float[] output) => -Enumerable.Range(0, 2).Average(b => batch.Advantage[b] * GaussianLogProb.OfStep(
            x.AsSpan(b * n, n), output.AsSpan(b * n, n), next.AsSpan(b * n, n), new(0, batch.CX[b], batch.CM[b], batch.Sigma[b])));
        for (var i = 0; i < 2 * n; i++)
        {
            float[] up = [.. m], down = [.. m];
            (up[i], down[i]) = (m[i] + 0.05f, m[i] - 0.05f); // the loss is quadratic: the central difference is exact
            Assert.Equal((Loss(up) - Loss(down)) / (up[i] - (double)down[i]), result["gradient"][i], 1e-5);
        }
    }

    [Fact]
    public void Validate_Faults_ThrowsUserError() =>
        Assert.Throws<UserError>(() => new ReinforceLossOptions { AdvantageClip = 0 }.Validate());
}
