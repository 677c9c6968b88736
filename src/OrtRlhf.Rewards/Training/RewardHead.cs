using System.Numerics.Tensors;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Learning.Preferences;
using static OrtRlhf.Graph.Expressions.Functions;
using Tensor = OrtRlhf.Graph.Tensor;

namespace OrtRlhf.Rewards.Training;

/// <summary>
/// A linear Bradley-Terry head, <c>score = sum_j w_j s_j (f_j - m_j)</c>: features are standardised, and those of a block divided by the
/// root of their number, so that
/// the ridge holds a block of a thousand features no less than one of a single feature.
/// </summary>
/// <param name="Mean">m [D].</param>
/// <param name="Scale">s [D]; 0 for a feature that hardly varies.</param>
/// <param name="Weight">w [D], over the temperature already.</param>
/// <param name="Ridge">What w was fitted with.</param>
/// <param name="Temperature">What w was divided by.</param>
internal sealed record RewardHead(float[] Mean, float[] Scale, float[] Weight, double Ridge, double Temperature)
{
    private const int Folds = 5;
    private const double Constant = 1e-5; // deviation over mean, below which a feature is rounding
    private static readonly double[] Ridges = [1, 0.3, 0.1, 0.03, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5];

    /// <summary>Fits a head: the ridge by cross-validation, then the temperature on the choices that each of its folds left out.</summary>
    /// <param name="pairs">At least <see cref="Folds"/> preferences; neighbours are left out together.</param>
    /// <param name="features">Features of all candidates [n][D].</param>
    /// <param name="blocks">Sizes of the blocks; their sum is D.</param>
    /// <param name="ridge">The ridge; null chooses it.</param>
    public static RewardHead Fit(RatedPair[] pairs, float[][] features, IReadOnlyList<int> blocks, double? ridge)
    {
        var (mean, scale) = Standardize(pairs, features, blocks);
        var differences = Array.ConvertAll(pairs, p => Difference(features[p.Preferred], features[p.Rejected]));
        var counts = Array.ConvertAll(pairs, p => (double)p.Weight);
        var tried = ridge is { } given ? [given] : Ridges;
        var logits = tried.Select(_ => new double[pairs.Length]).ToArray();
        Parallel.For(0, Folds, fold =>
        {
            var (first, last) = (pairs.Length * fold / Folds, pairs.Length * (fold + 1) / Folds);
            double[] w = new double[mean.Length];
            for (var k = 0; k < tried.Length; k++)
            {
                w = BradleyTerry.Fit([.. differences[..first], .. differences[last..]], [.. counts[..first], .. counts[last..]],
                    tried[k], w);
                for (var i = first; i < last; i++) logits[k][i] = TensorPrimitives.Dot<double>(w, differences[i]);
            }
        });
        var best = Enumerable.Range(0, tried.Length).MaxBy(k => logits[k].Zip(counts, (z, c) => -c * Math.Log(1 + Math.Exp(-z))).Sum());
        var temperature = TemperatureScaling.Fit(logits[best], counts);
        var weight = BradleyTerry.Fit(differences, counts, tried[best]);
        return new(mean, scale, Array.ConvertAll(weight, w => (float)(w / temperature)), tried[best], temperature);

        double[] Difference(float[] a, float[] b)
        {
            var d = new double[a.Length];
            for (var j = 0; j < d.Length; j++) d[j] = ((double)a[j] - b[j]) * scale[j];
            return d;
        }
    }

    /// <summary>The score of an image's features.</summary>
    public double Score(float[] features)
    {
        var sum = 0.0;
        for (var j = 0; j < features.Length; j++) sum += (double)Weight[j] * Scale[j] * ((double)features[j] - Mean[j]);
        return sum;
    }

    /// <summary>The same as an expression: features [B,D] to scores [B].</summary>
    public Value Score(Value features)
    {
        var graph = features.Graph;
        var standardised = (features - graph.Constant(Tensor.Of(Mean, Mean.Length), "head.mean")) * graph.Constant(Tensor.Of(Scale,
            Scale.Length), "head.scale");
        return MatMul(standardised, graph.Constant(Tensor.Of(Weight, Weight.Length, 1), "head.weight")).Squeeze(1);
    }

    /// <summary>The same head with scores divided by one more temperature.</summary>
    public RewardHead Cooled(double temperature) =>
        this with { Weight = Array.ConvertAll(Weight, w => (float)(w / temperature)), Temperature = Temperature * temperature };

    // Of the candidates that the head is fitted to, each as often as it was chosen from.
    private static (float[] Mean, float[] Scale) Standardize(RatedPair[] pairs, float[][] features, IReadOnlyList<int> blocks)
    {
        var rows = pairs.SelectMany(p => new[] { features[p.Preferred], features[p.Rejected] }).ToArray();
        var (mean, square) = (new double[features[0].Length], new double[features[0].Length]);
        foreach (var row in rows)
            for (var j = 0; j < mean.Length; j++) mean[j] += (double)row[j] / rows.Length;
        foreach (var row in rows)
            for (var j = 0; j < mean.Length; j++) square[j] += (row[j] - mean[j]) * (row[j] - mean[j]) / rows.Length;
        var sizes = blocks.SelectMany(size => Enumerable.Repeat(size, size)).ToArray();
        return (Array.ConvertAll(mean, m => (float)m), [.. square.Select((v, j) => Math.Sqrt(v) is var deviation
            && deviation > (Constant * Math.Abs(mean[j])) + 1e-9 ? (float)(1 / (deviation * Math.Sqrt(sizes[j]))) : 0)]);
    }
}
