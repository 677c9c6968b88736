using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Models;

namespace OrtRlhf.Pretrain;

/// <summary>Where a training starts: known weights where there are some, else random ones.</summary>
internal static class InitialWeights
{
    /// <summary>
    /// Weights uniform in +-1/sqrt(fan-in), embeddings N(0, 0.02^2), norms 1, biases 0, CLIP's logit_scale ln(1/0.07); the last layer of
    /// each residual branch and of the denoiser 0.
    /// </summary>
    public static Weights Make(ulong seed, IReadOnlyDictionary<string, Tensor>? known = null, bool trainable = true)
    {
        uint drawn = 0;
        return new Weights((name, shape) =>
            known?.GetValueOrDefault(name) ?? Draw(new Philox(seed, 0, drawn++, 0), name, shape), trainable);
    }

    private static Tensor Draw(Philox random, string name, long[] shape)
    {
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        if (name == "logit_scale") values[0] = MathF.Log(1 / 0.07f);
        else if (name.Contains("embedding.weight", StringComparison.Ordinal))
        {
            random.FillGaussian(values);
            foreach (ref var v in values.AsSpan()) v *= 0.02f;
        }
        else if (shape.Length == 1) values.AsSpan().Fill(name.EndsWith(".weight", StringComparison.Ordinal) ? 1 : 0);
        else if (!IsLast(name))
        {
            random.FillUniform(values);
            var bound = 1 / MathF.Sqrt(values.Length / (float)shape[0]);
            foreach (ref var v in values.AsSpan()) v = ((2 * v) - 1) * bound;
        }
        return Tensor.Of(values, shape);
    }

    // Modulations of a transformer too: its gates are closed at first (adaLN-Zero).
    private static bool IsLast(string name)
    {
        string[] last = name.StartsWith("unet.", StringComparison.Ordinal) ? [".conv2.weight", ".proj_out.weight", ".conv_out.weight"]
            : name.StartsWith("transformer.", StringComparison.Ordinal)
                ? [".norm1.linear.weight", ".norm1_context.linear.weight", ".norm_out.linear.weight", ".proj_out.weight"]
            : [];
        return last.Any(end => name.EndsWith(end, StringComparison.Ordinal));
    }
}
