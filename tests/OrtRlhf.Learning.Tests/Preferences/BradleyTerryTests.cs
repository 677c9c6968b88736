using OrtRlhf.Learning.Preferences;

namespace OrtRlhf.Learning.Tests.Preferences;

public sealed class BradleyTerryTests
{
    [Fact]
    public void Fit_IsTheMinimumOfTheConvexLoss()
    {
        var (d, c) = Data(200, 6, new(3, 0, 0, 0));
        foreach (var ridge in (double[])[1e-4, 0.01, 1])
        {
            var w = BradleyTerry.Fit(d, c, ridge);
            // The gradient is zero: dL/dw = ridge w - sum c (1 - p) d / sum c.
            for (var j = 0; j < w.Length; j++)
            {
                var slope = (ridge * w[j]) - (d.Zip(c).Sum(x =>
                    x.Second * (1 - BradleyTerry.Probability(Dot(w, x.First))) * x.First[j]) / c.Sum());
                Assert.Equal(0, slope, 1e-6);
            }
        }
    }

    [Fact]
    public void Fit_ManyPreferences_FindsTheTrueModel()
    {
        var (d, c) = Data(4000, 4, new(5, 0, 0, 0));
        var w = BradleyTerry.Fit(d, c, 1e-6);
        Assert.All(w.Zip(Truth(4)), x => Assert.Equal(x.Second, x.First, 0.25));
    }

    [Fact]
    public void Fit_MoreFeaturesThanPreferences_SeparableData_StaysFinite()
    {
        var (d, c) = Data(5, 40, new(6, 0, 0, 0));
        var w = BradleyTerry.Fit(d, c, 1e-3);
        Assert.All(w, x => Assert.True(double.IsFinite(x)));
        Assert.All(d, x => Assert.InRange(Dot(w, x), 0, 100));
        Assert.Throws<ArgumentException>(() => BradleyTerry.Fit(d, c, 0));
        Assert.Throws<ArgumentException>(() => BradleyTerry.Fit([], [], 1));
    }

    [Fact]
    public void Fit_Weights_CountLikeRepetitions()
    {
        var (d, _) = Data(20, 3, new(7, 0, 0, 0));
        double[] c = [.. d.Select((_, i) => i % 3 + 1.0)];
        var repeated = d.SelectMany((x, i) => Enumerable.Repeat(x, i % 3 + 1)).ToArray();
        var (a, b) = (BradleyTerry.Fit(d, c, 0.1), BradleyTerry.Fit(repeated, [.. repeated.Select(_ => 1.0)], 0.1));
        Assert.All(a.Zip(b), x => Assert.Equal(x.First, x.Second, 1e-6));
    }

    [Fact]
    public void Fit_AnyStart_SameMinimum()
    {
        var (d, c) = Data(100, 200, new(8, 0, 0, 0));
        var (plain, far) = (BradleyTerry.Fit(d, c, 1e-3), BradleyTerry.Fit(d, c, 1e-3, [.. Enumerable.Repeat(3.0, 200)]));
        Assert.All(plain.Zip(far), x => Assert.Equal(x.First, x.Second, 1e-4));
    }

    [Fact]
    public void Temperature_IsTheMostLikely_AndFinite()
    {
        // Five of six come true at a difference of 4, and one more each way: ln 3 is what it should be.
        double[] logits = [4, 4, 4, 4, 4, -4];
        Assert.Equal(4 / Math.Log(3), TemperatureScaling.Fit(logits, [1, 1, 1, 1, 1, 1]), 1e-9);
        Assert.Equal(4 / Math.Log(3), TemperatureScaling.Fit([4, -4], [5, 1]), 1e-9); // weights count like repetitions
        Assert.Equal(0.01 * TemperatureScaling.Fit(logits, [1, 1, 1, 1, 1, 1]),
            TemperatureScaling.Fit([.. logits.Select(z => z / 100)], [1, 1, 1, 1, 1, 1]), 1e-9);
        Assert.Equal(2 / Math.Log(3), TemperatureScaling.Fit([2, 2], [1, 1]), 1e-9); // no mistake
        Assert.Equal(TemperatureScaling.Highest, TemperatureScaling.Fit([1, -2], [1, 1]), 1e-9);
    }

    [Fact]
    public void Calibration_MatchesItsFormula()
    {
        // Ten predictions of 0.9 of which eight came true, and ten of 0.6 of which six did.
        double[] probabilities = [.. Enumerable.Repeat(0.9, 8), .. Enumerable.Repeat(0.1, 2), .. Enumerable.Repeat(0.6, 6),
            .. Enumerable.Repeat(0.4, 4)];
        var calibration = Calibration.Of(probabilities, bins: 2);
        Assert.Equal(0.5 * 0.1, calibration.Error, 1e-12);
        Assert.Equal([10, 10], calibration.Bins.Select(b => b.N));
        Assert.Equal(0.8, calibration.Bins[1].Accuracy, 1e-12);
        Assert.Equal((0.5, 0.75, 0.6), (calibration.Bins[0].From, calibration.Bins[0].To, Math.Round(calibration.Bins[0].Confidence, 12)));
        Assert.Equal(0, Calibration.Of([1, 1]).Error);
        Assert.Equal(1, Calibration.Of([0]).Error);
        Assert.Equal(0, Calibration.Of([0.5]).Error);
    }

    // Differences of random features, each turned the way that the true model prefers, with its probability.
    private static (double[][], double[]) Data(int count, int features, Philox key)
    {
        var (numbers, chances) = (new float[count * features], new float[count]);
        key.FillGaussian(numbers);
        (key with { Step = 1 }).FillUniform(chances);
        var truth = Truth(features);
        var differences = numbers.Chunk(features).Select((x, i) =>
        {
            var d = Array.ConvertAll(x, v => (double)v);
            return chances[i] < BradleyTerry.Probability(Dot(truth, d)) ? d : Array.ConvertAll(d, v => -v);
        }).ToArray();
        return (differences, [.. differences.Select(_ => 1.0)]);
    }

    private static double[] Truth(int features) => [.. Enumerable.Range(0, features).Select(j => j % 2 == 0 ? 1.0 : -0.5)];

    private static double Dot(double[] a, double[] b) => a.Zip(b).Sum(x => x.First * x.Second);
}
