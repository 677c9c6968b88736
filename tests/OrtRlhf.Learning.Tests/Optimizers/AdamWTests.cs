using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Learning.Tests.Optimizers;

public sealed class AdamWTests
{
    private static readonly string[] Tensors = ["b1", "w1", "w2"];

    private static float[] Vector(GoldenFile golden, string prefix) => [.. Tensors.SelectMany(t => golden.Floats($"{prefix}.{t}"))];

    [Fact]
    public void Step_FiveClippedSteps_MatchesReference()
    {
        var golden = new GoldenFile("adamw/adamw.safetensors");
        var norms = GoldenFile.Json("adamw/golden.json").GetProperty("total_norm_before_clip");
        var p = Vector(golden, "init");
        var adam = new AdamW(p.Length, new());
        for (var k = 1; k <= 5; k++)
        {
            var g = Vector(golden, $"step{k}.grad");
            Assert.Equal(norms[k - 1].GetDouble(), Gradients.ClipByGlobalNorm(g, 1), 1e-5 * norms[k - 1].GetDouble());
            Close.To(Vector(golden, $"step{k}.clipped_grad"), g, 1e-6, $"clipped {k}");
            adam.Step(p, g, 3e-4);
            Close.To(Vector(golden, $"step{k}.param"), p, 3e-7, $"parameters {k}");
            Close.To(Vector(golden, $"step{k}.exp_avg"), adam.FirstMoment, 1e-6, $"m {k}");
            Close.To(Vector(golden, $"step{k}.exp_avg_sq"), adam.SecondMoment, 1e-6, $"v {k}");
        }
    }

    [Fact]
    public void Step_AllLengths()
    {
        foreach (var n in Enumerable.Range(0, 70).Append(1003))
        {
            float[] p = new float[n], g = new float[n];
            new Philox(1, 0, 0, 0).FillGaussian(p);
            var expected = p.Select(v => (double)v).ToArray();
            double[] m = new double[n], v = new double[n];
            var adam = new AdamW(n, new() { WeightDecay = 0.1 });
            for (uint k = 1; k <= 3; k++)
            {
                new Philox(1, 0, 1, k).FillGaussian(g);
                adam.Step(p, g, 0.01);
                for (var i = 0; i < n; i++)
                {
                    m[i] = 0.9 * m[i] + 0.1 * g[i];
                    v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                    expected[i] = expected[i] * (1 - 0.001) - 0.01 / (1 - Math.Pow(0.9, k))
                        * m[i] / (Math.Sqrt(v[i] / (1 - Math.Pow(0.999, k))) + 1e-8);
                    Assert.Equal(expected[i], p[i], 2e-6);
                }
            }
        }
    }

    [Fact]
    public void Restore_Snapshot_GoesOnWithTheSameNumbers()
    {
        float[] p = [1, 2, 3], q;
        var adam = new AdamW(3, new());
        adam.Step(p, [0.1f, -1, 3], 0.1);
        q = [.. p];
        var resumed = new AdamW(3, new());
        resumed.Restore(adam.Snapshot());
        adam.Step(p, [1, 1, 1], 0.1);
        resumed.Step(q, [1, 1, 1], 0.1);
        Assert.Equal(p, q);
        Assert.Equal(2, resumed.StepCount);
    }

    [Fact]
    public void Restore_OtherState_ThrowsUserError()
    {
        var adam = new AdamW(3, new());
        Assert.Contains("exp_avg", Assert.Throws<UserError>(() => adam.Restore(new AdamW(4, new()).Snapshot())).Message);
        Assert.Contains("step", Assert.Throws<UserError>(() => adam.Restore(new Dictionary<string, float[]>())).Message);
    }

    [Fact]
    public void Validate_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() => new AdamW(1, new() { Beta1 = 1, Epsilon = double.NaN, WeightDecay = -1 })).Message;
        Assert.All(["beta1", "epsilon", "weight decay"], name => Assert.Contains(name, message));
    }
}
