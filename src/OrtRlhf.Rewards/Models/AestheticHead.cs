using System.Text.RegularExpressions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Rewards;

/// <summary>
/// A head that gives an embedding a number, <c>y = w x + b</c>. LAION's predictors are linear, or several linear layers without activations
/// (layers.0,
/// layers.2, layers.4, layers.6, layers.7: 768-1024-128-64-16-1), which together are linear, too: they are multiplied out when they are
/// read.
/// </summary>
/// <param name="Weights">w.</param>
/// <param name="Bias">b.</param>
internal sealed partial record AestheticHead(double[] Weights, double Bias)
{
    /// <summary>
    /// Reads a safetensors file: matrices named <c>weight</c> or <c>....N.weight</c> in the order of N, each with a bias or none.
    /// </summary>
    /// <exception cref="UserError">It is no such file, or the layers do not fit each other.</exception>
    public static AestheticHead Read(string path)
    {
        var tensors = SafetensorsFile.Open(path).Tensors;
        var names = tensors.Keys.Where(name => name == "weight" || name.EndsWith(".weight", StringComparison.Ordinal)).OrderBy(Number)
            .ThenBy(name => name, StringComparer.Ordinal).ToArray();
        if (names.Length is 0 or > 64) throw new UserError(
            $"'{path}': expected linear layers named weight, or layers.N.weight, got {names.Length} among {tensors.Count} tensors");
        // From the last layer back: y = u h + b with h = W x + c is (u W) x + (b + u c).
        double[] u = [1];
        var bias = 0.0;
        foreach (var name in names.Reverse())
        {
            var layer = tensors[name];
            if (layer.Dims is not [var rows, var columns] || rows != u.Length || columns is < 1 or > 65536)
                throw new UserError($"'{path}': {name}: expected a matrix [{u.Length}, "
                    + $"inputs]{(name == names[^1] ? ", one number out" : " as the next layer takes")}, got "
                    + $"[{string.Join(",", layer.Dims)}]");
            if (tensors.TryGetValue(name[..^"weight".Length] + "bias", out var b))
            {
                if (b.Count != rows) throw new UserError($"'{path}': the bias of {name}: expected {rows} numbers, got {b.Count}");
                bias += u.Zip(b.ToFloats(), (a, c) => a * c).Sum();
            }
            var (w, next) = (layer.ToFloats(), new double[columns]);
            for (var i = 0; i < rows; i++)
                for (var j = 0; j < columns; j++) next[j] += u[i] * w[(i * columns) + j];
            u = next;
        }
        return new AestheticHead(u, bias);
    }

    /// <summary>The number of an embedding.</summary>
    public double Apply(float[] x)
    {
        var sum = Bias;
        for (var i = 0; i < x.Length; i++) sum += Weights[i] * x[i];
        return sum;
    }

    private static int Number(string name) => LastNumber().Match(name) is { Success: true } match ? int.Parse(match.Groups[1].Value) : 0;

    [GeneratedRegex(@"(\d{1,6})\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex LastNumber();
}
