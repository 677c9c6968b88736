using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>What residual blocks of a network have in common.</summary>
/// <param name="Groups">Groups of the normalisation.</param>
/// <param name="Epsilon">Epsilon of the normalisation.</param>
/// <param name="Activation">Name of the activation.</param>
internal sealed record ResnetOptions(long Groups, double Epsilon, string Activation)
{
    /// <summary>Whether the time embedding scales and shifts instead of being added.</summary>
    public bool ScaleShift { get; init; }

    /// <summary>The block's output is divided by it.</summary>
    public double OutputScale { get; init; } = 1;
}

/// <summary>Parts that U-Nets and autoencoders share.</summary>
internal static class Blocks
{
    /// <summary>
    /// Residual block: x + conv2(act(norm2(conv1(act(norm1(x))) + W t))), the shortcut by a 1x1 convolution where the width changes.
    /// </summary>
    public static Value Resnet(Module m, Value x, long channels, Value? time, ResnetOptions o)
    {
        using var scope = m.Scope();
        var h = m["conv1"].Conv2d(Activation.Apply(o.Activation, m["norm1"].GroupNorm(x, o.Groups, o.Epsilon)), channels);
        Value? t = null;
        if (time is not null)
        {
            t = m["time_emb_proj"].Linear(Activation.Apply(o.Activation, time), o.ScaleShift ? 2 * channels : channels).Unsqueeze(2, 3);
            if (!o.ScaleShift) h += t;
        }
        h = m["norm2"].GroupNorm(h, o.Groups, o.Epsilon);
        if (t is not null && o.ScaleShift)
        {
            var parts = t.Split(1, channels, channels);
            h = (h * (parts[0] + 1)) + parts[1];
        }
        h = m["conv2"].Conv2d(Activation.Apply(o.Activation, h), channels);
        if (x.Shape![1].Size != channels) x = m["conv_shortcut"].Conv2d(x, channels, kernel: 1);
        var y = x + h;
        return o.OutputScale == 1 ? y : y / o.OutputScale;
    }

    /// <summary>Halves height and width by a strided convolution; padding 0 adds one row and column at bottom and right only.</summary>
    public static Value Downsample(Module m, Value x, long channels, long padding) =>
        m["conv"].Conv2d(x, channels, 3, 2, padding == 0 ? [0, 0, 1, 1] : [padding, padding, padding, padding]);

    /// <summary>Doubles height and width (cut to another value's where that is odd), then a convolution.</summary>
    public static Value Upsample(Module m, Value x, long channels, Value? like = null)
    {
        using (m.Scope())
        {
            x = UpsampleNearest(x);
            if (like is not null) x = Cut(x, like);
        }
        return m["conv"].Conv2d(x, channels);
    }

    /// <summary>Attention of several heads: x [B,S,C] looks at context [B,T,D] (or at itself).</summary>
    /// <param name="m">Its module, with to_q, to_k, to_v and to_out.0.</param>
    /// <param name="x">Where queries come from.</param>
    /// <param name="context">Where keys and values come from; null for x.</param>
    /// <param name="heads">Number of heads.</param>
    /// <param name="bias">Whether the three projections have biases.</param>
    /// <param name="upcast">Whether a half-precision model computes it in single precision.</param>
    public static Value Attention(Module m, Value x, Value? context, long heads, bool bias, bool upcast = false)
    {
        using var scope = m.Scope();
        var channels = x.Shape![-1].Size;
        var width = channels / heads;
        if (width == 0) throw new UserError(
            $"module '{m.Path}': expected at most {channels} attention heads, one a channel, got {heads}; check config.json");
        var source = context ?? x;
        var q = m["to_q"].Linear(x, heads * width, bias);
        var k = m["to_k"].Linear(source, heads * width, bias);
        var v = m["to_v"].Linear(source, heads * width, bias);
        var o = MultiHead(q, k, v, heads, null, upcast);
        return m["to_out"][0].Linear(o, channels);
    }

    /// <summary>Splits [B,S,C] into heads, attends, and joins them again.</summary>
    public static Value MultiHead(Value q, Value k, Value v, long heads, Value? mask = null, bool upcast = false)
    {
        var type = q.Type;
        var width = q.Shape![-1].Size / heads;
        var o = Functions.Attention(Split(q), Split(k), Split(v), 1 / Math.Sqrt(width), mask);
        return Cast(o, type).Transpose(0, 2, 1, 3).Reshape(0, 0, heads * width);

        Value Split(Value x)
        {
            if (upcast && type == ElementType.Float16) x = Cast(x, ElementType.Float);
            return x.Reshape(0, 0, heads, width).Transpose(0, 2, 1, 3);
        }
    }

    /// <summary>Self-attention over the cells of an image with its own normalisation and residual: [B,C,H,W] to the same.</summary>
    /// <param name="m">Its module, with group_norm, to_q, to_k, to_v and to_out.0.</param>
    /// <param name="x">Cells.</param>
    /// <param name="headWidth">Channels of a head.</param>
    /// <param name="groups">Groups of the normalisation; null for none.</param>
    /// <param name="epsilon">Epsilon of the normalisation.</param>
    /// <param name="outputScale">The sum of cells and attention is divided by it.</param>
    public static Value ImageAttention(Module m, Value x, long headWidth, long? groups, double epsilon, double outputScale = 1)
    {
        using var scope = m.Scope();
        var channels = x.Shape![1].Size;
        var h = Rows(groups is { } g ? m["group_norm"].GroupNorm(x, g, epsilon) : x);
        h = Attention(m, h, null, channels / headWidth, bias: true);
        var y = h.Transpose(0, 2, 1).ReshapeLike(x) + x;
        return outputScale == 1 ? y : y / outputScale;
    }

    /// <summary>[B,C,H,W] as rows [B,H*W,C].</summary>
    public static Value Rows(Value x) => x.Reshape(0, x.Shape![1].Size, -1).Transpose(0, 2, 1);

    /// <summary>Sinusoids of each element: [...] to [..., width], in single precision.</summary>
    /// <param name="x">Numbers, such as timesteps.</param>
    /// <param name="width">Size of an embedding.</param>
    /// <param name="cosineFirst">Cosines before sines (flip_sin_to_cos).</param>
    /// <param name="shift">Taken off the divisor of the exponents (freq_shift): frequency i is 10000^(-i/(width/2 - shift)).</param>
    public static Value Sinusoids(Value x, long width, bool cosineFirst, double shift)
    {
        var half = width / 2;
        var frequencies = new float[half];
        for (var i = 0; i < half; i++) frequencies[i] = MathF.Exp((float)(-Math.Log(10000)) * i / (float)(half - shift));
        var angles = Cast(x, ElementType.Float).Unsqueeze(x.Shape!.Rank) * x.Graph.Constant(Tensor.Of(frequencies, half));
        var (sin, cos) = (Sin(angles), Cos(angles));
        var parts = cosineFirst ? new[] { cos, sin } : [sin, cos];
        if (width % 2 == 0) return Layout.Concat(-1, parts);
        return Layout.Concat(-1, [.. parts, cos.Slice(-1, 0, 1) * 0]);
    }

    private static Value Cut(Value x, Value like)
    {
        var (have, want) = (x.Shape!, like.Shape!);
        if (have[2].IsKnown && have[3].IsKnown && want[2].IsKnown && want[3].IsKnown)
            return have[2] == want[2] && have[3] == want[3] ? x : x.Slice([2, 3], [0, 0], [want[2].Size, want[3].Size], [1, 1]);
        var g = x.Graph;
        var size = g.Op("Shape", [like]).Slice(0, 2, 4);
        return g.Op("Slice", [x, g.Constant(Tensor.Vector(0, 0)), size, g.Constant(Tensor.Vector(2, 3))]);
    }

    /// <summary>linear_2(act(linear_1(x))).</summary>
    public static Value Mlp(Module m, Value x, long width, string activation)
    {
        using var scope = m.Scope();
        return m["linear_2"].Linear(Activation.Apply(activation, m["linear_1"].Linear(x, width)), width);
    }
}
