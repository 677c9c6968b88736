using System.Runtime.InteropServices;
using OrtRlhf.Graph;
using OrtRlhf.Learning;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>
/// Weights drawn at random: variance 1/fan-in, norms near one, so that activations stay near one. A tensor is drawn each time its bytes are
/// asked for, so
/// that a checkpoint of any size can be written.
/// </summary>
internal sealed class RandomWeights(ulong seed)
{
    private uint _next;

    /// <summary>The weight of a name.</summary>
    public Tensor Weight(string name, long[] shape) => shape.Length == 1
        ? Draw(name.EndsWith("weight", StringComparison.Ordinal) ? 1 : 0, 0.1, shape)
        : Draw(0, 1 / Math.Sqrt(shape[1..].Aggregate(1L, (a, b) => a * b)), shape);

    /// <summary>Independent normal numbers.</summary>
    public Tensor Draw(double mean, double scale, params long[] shape)
    {
        var key = _next++;
        return new Tensor(ElementType.Float, shape, () =>
        {
            var bytes = new byte[shape.Aggregate(4L, (a, b) => a * b)];
            var values = MemoryMarshal.Cast<byte, float>(bytes.AsSpan());
            new Philox(seed, 0, key, 0).FillGaussian(values);
            foreach (ref var value in values) value = (float)(mean + (scale * value));
            return bytes;
        });
    }
}
