using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Learning.Tests.Losses;

/// <summary>
/// Losses on denoising errors, against their formulas in double precision: values, metrics, and gradients by central differences.
/// </summary>
public sealed class DenoisingLossTests
{
    private const int B = 4, N = 12;
    private static readonly long[] Latent = [B, 3, 2, 2];
    private static readonly float[] Output = Draw(1), Target = Draw(2), Reference = Draw(3), Label = [1, -1, -1, 1];

    [Fact]
    public void Mse_MatchesFormulaAndFiniteDifference() => Check(m => Errors(m).Average(), (e, _) => Mse.Loss(e));

    [Theory]
    [InlineData(2)]
    [InlineData(50)]
    public void Dpo_MatchesFormulaAndFiniteDifference(double beta)
    {
        double[] reference = Errors(Reference);
        var result = Check(
            m => Pairs(Errors(m), reference).Average(inside => Math.Log(1 + Math.Exp(0.5 * beta * inside))),
            (e, _) => Dpo.Loss(e, new() { Beta = beta }));
        var margins = Pairs(Errors(Output), reference).Select(inside => -0.5 * inside).ToArray();
        Assert.Equal(margins.Average(), result["margin"][0], 1e-6);
        Assert.Equal(margins.Count(h => h > 0) / 2.0, result["accuracy"][0], 1e-6);
        Assert.Equal(Errors(Output).Average(), result["mse"][0], 1e-5);
        Assert.Equal(reference.Average(), result["reference_mse"][0], 1e-5);
    }

    [Fact]
    public void Dpo_FarApart_IsFinite()
    {
        var result = Run((e, _) => Dpo.Loss(e, new() { Beta = 1e5 }));
        Assert.True(float.IsFinite(result["loss"][0]));
        Assert.All(result["gradient"], g => Assert.True(float.IsFinite(g)));
    }

    [Fact]
    public void Dpo_OddBatch_ThrowsUserError()
    {
        var m = new OnnxGraph("loss").Input("output", ElementType.Float, 3, 1, 2, 2);
        Assert.Contains("expected an even batch", Assert.Throws<UserError>(() => Dpo.Loss(DenoisingErrors.Inputs(m, m), new())).Message);
    }

    [Fact]
    public void Ipo_MatchesFormulaAndFiniteDifference()
    {
        double[] reference = Errors(Reference);
        Check(m => Pairs(Errors(m), reference).Average(inside => Math.Pow((-3 * inside) - 1, 2)), (e, _) =>
            Ipo.Loss(e, new() { Beta = 3 }));
    }

    [Fact]
    public void Kto_MatchesFormulaAndFiniteDifference()
    {
        const double beta = 3;
        double[] reference = Errors(Reference);
        double[] Rewards(float[] m) => [.. Errors(m).Zip(reference, (l, lRef) => beta / 2 * (lRef - l))];
        var z = Math.Max(0, Rewards(Output).Average()); // without a gradient: it stays as it is when the output moves
        var result = Check(
            m => Rewards(m).Select((r, i) => 1 - (1 / (1 + Math.Exp(-Label[i] * (r - z))))).Average(),
            (e, label) => Kto.Loss(e, label, new() { Beta = beta }));
        Assert.Equal(z, result["baseline"][0], 1e-5);
        Close.To([.. Rewards(Output).Select(r => (float)r)], result["implicit_reward"], 1e-5);
    }

    [Fact]
    public void Validate_Faults_ThrowUserError()
    {
        Assert.Contains("beta", Assert.Throws<UserError>(() => new DpoLossOptions { Beta = 0 }.Validate()).Message);
        Assert.Contains("beta", Assert.Throws<UserError>(() => new IpoLossOptions { Beta = double.NaN }.Validate()).Message);
        Assert.Contains("beta", Assert.Throws<UserError>(() => new KtoLossOptions { Beta = -1 }.Validate()).Message);
    }

    private static Dictionary<string, float[]> Check(Func<float[], double> formula, Func<DenoisingErrors, Value, TrainingLoss> loss)
    {
        var result = Run(loss);
        LossGraph.Check(result, Output, formula);
        return result;
    }

    private static Dictionary<string, float[]> Run(Func<DenoisingErrors, Value, TrainingLoss> algorithm) => LossGraph.Run(
        Latent, new Dictionary<string, float[]> { ["output"] = Output, ["target"] = Target, ["reference"] = Reference, ["label"] = Label },
            output =>
        {
            var errors = DenoisingErrors.Inputs(output,
                output.Graph.Input("reference", ElementType.Float, [.. Latent.Select(size => (Dim)size)]));
            return algorithm(errors, Kto.Labels(errors));
        });

    private static double[] Errors(float[] m) =>
        [.. Enumerable.Range(0, B).Select(b => Enumerable.Range(b * N, N).Average(i => Math.Pow((double)m[i] - Target[i], 2)))];

    // (L_w - L_l) - (L_ref_w - L_ref_l) of each pair.
    private static IEnumerable<double> Pairs(double[] losses, double[] reference) =>
        Enumerable.Range(0, B / 2).Select(i => losses[i] - losses[(B / 2) + i] - (reference[i] - reference[(B / 2) + i]));

    private static float[] Draw(uint sample)
    {
        var values = new float[B * N];
        new Philox(5, 0, sample, 0).FillGaussian(values);
        return values;
    }
}
