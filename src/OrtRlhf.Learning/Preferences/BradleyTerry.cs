using System.Numerics.Tensors;

namespace OrtRlhf.Learning.Preferences;

/// <summary>
/// A linear Bradley-Terry model of preferences (Bradley and Terry 1952): <c>P(a over b) = sigmoid(w (f_a - f_b))</c>, fitted by maximum
/// likelihood with a ridge,
/// <c>min_w sum_i -c_i ln sigmoid(w d_i)/sum_i c_i + ridge/2 |w|^2</c>. The loss is convex: Newton's method, each step solved by conjugate
/// gradients as far as it is
/// worth (Dembo et al. 1982), finds the one minimum from any start, in memory that grows with the features only.
/// </summary>
public static class BradleyTerry
{
    private const int MostSteps = 50, MostProducts = 400;
    private const double Tolerance = 1e-10;

    /// <summary>Fits w.</summary>
    /// <param name="differences">d_i, features of the preferred less those of the rejected [n][D].</param>
    /// <param name="weights">c_i, how much each counts, above 0 [n].</param>
    /// <param name="ridge">Above 0.</param>
    /// <param name="start">Where to begin, such as the minimum at another ridge; null for 0. Decides the time, not the result.</param>
    /// <returns>w [D].</returns>
    /// <exception cref="ArgumentException">No differences, or a ridge that is not above 0.</exception>
    public static double[] Fit(IReadOnlyList<double[]> differences, IReadOnlyList<double> weights, double ridge, double[]? start = null)
    {
        if (differences.Count == 0 || weights.Count != differences.Count) throw new ArgumentException(
            "expected at least one difference, and a weight for each", nameof(differences));
        if (!(ridge > 0)) throw new ArgumentException($"expected a ridge > 0, got {ridge}", nameof(ridge));
        var (w, total) = (start ?? new double[differences[0].Length], weights.Sum());
        for (var step = 0; step < MostSteps; step++)
        {
            var (gradient, curvature) = Slope(w);
            var newton = Solve(v => Curved(v, curvature), gradient);
            var (decrement, before) = (Dot(newton, gradient), Loss(w));
            if (decrement < Tolerance) break;
            // Halved until the loss falls as far as a convex one must: far from the minimum a whole step may go past it.
            var size = 1.0;
            while (size > 1e-6 && Loss(Plus(w, -size, newton)) > before - (0.1 * size * decrement)) size /= 2;
            w = Plus(w, -size, newton);
        }
        return w;

        (double[] Gradient, double[] Curvature) Slope(double[] at)
        {
            var (gradient, curvature) = (Array.ConvertAll(at, x => ridge * x), new double[differences.Count]);
            for (var i = 0; i < curvature.Length; i++)
            {
                var (p, c) = (Probability(Dot(at, differences[i])), weights[i] / total);
                TensorPrimitives.MultiplyAdd(differences[i], -c * (1 - p), gradient, gradient);
                curvature[i] = c * p * (1 - p);
            }
            return (gradient, curvature);
        }

        double[] Curved(double[] v, double[] curvature)
        {
            var result = Array.ConvertAll(v, x => ridge * x);
            for (var i = 0; i < curvature.Length; i++) TensorPrimitives.MultiplyAdd(differences[i], curvature[i] * Dot(v, differences[i]),
                result, result);
            return result;
        }

        double Loss(double[] at)
        {
            var sum = ridge / 2 * Dot(at, at);
            for (var i = 0; i < differences.Count; i++) sum += weights[i] / total * Softplus(-Dot(at, differences[i]));
            return sum;
        }
    }

    /// <summary><c>sigmoid(x)</c>: the probability that the one is preferred whose score is larger by x.</summary>
    public static double Probability(double x) => x >= 0 ? 1 / (1 + Math.Exp(-x)) : Math.Exp(x) / (1 + Math.Exp(x));

    // Conjugate gradients (Hestenes and Stiefel 1952) for a positive definite matrix that is known by its products, until the residual is a
    // thousandth.
    private static double[] Solve(Func<double[], double[]> product, double[] right)
    {
        var (x, r, p) = (new double[right.Length], right.ToArray(), right.ToArray());
        var size = Dot(r, r);
        var enough = 1e-6 * size;
        for (var i = 0; i < Math.Min(MostProducts, 4 * right.Length) && size > enough; i++)
        {
            var q = product(p);
            var step = size / Dot(p, q);
            (x, r) = (Plus(x, step, p), Plus(r, -step, q));
            var next = Dot(r, r);
            (p, size) = (Plus(r, next / size, p), next);
        }
        return x;
    }

    private static double Softplus(double x) => Math.Max(x, 0) + Math.Log(1 + Math.Exp(-Math.Abs(x)));

    private static double Dot(double[] a, double[] b) => TensorPrimitives.Dot<double>(a, b);

    private static double[] Plus(double[] a, double factor, double[] b)
    {
        var result = new double[a.Length];
        TensorPrimitives.MultiplyAdd(b, factor, a, result);
        return result;
    }
}
