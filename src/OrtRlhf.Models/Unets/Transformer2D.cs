using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>What the attentions of a block have in common.</summary>
/// <param name="Heads">Number of heads.</param>
/// <param name="Groups">Groups of the normalisation in front.</param>
/// <param name="Linear">Whether the outer projections are linear layers, not 1x1 convolutions.</param>
/// <param name="OnlyCross">Whether the first attention looks at the text, too.</param>
/// <param name="Upcast">Whether a half-precision model attends in single precision.</param>
internal sealed record TransformerOptions(long Heads, long Groups, bool Linear, bool OnlyCross, bool Upcast);

/// <summary>Attention of an image to itself and to a text (diffusers' Transformer2DModel).</summary>
internal static class Transformer2D
{
    /// <summary>x + proj_out(blocks(proj_in(norm(x)))): [B,C,H,W] and text states [B,T,D] to [B,C,H,W].</summary>
    public static Value Forward(Module m, Value x, Value context, long layers, TransformerOptions o)
    {
        using var scope = m.Scope();
        var channels = x.Shape![1].Size;
        if (channels % o.Heads != 0) throw new UserError($"module '{m.Path}': expected channels that attention_head_dim, the number of "
            + $"heads, divides, got {channels} channels and {o.Heads} heads; check config.json");
        var h = m["norm"].GroupNorm(x, o.Groups, 1e-6);
        h = o.Linear ? m["proj_in"].Linear(Blocks.Rows(h), channels) : Blocks.Rows(m["proj_in"].Conv2d(h, channels, kernel: 1));
        for (var i = 0; i < layers; i++) h = Block(m["transformer_blocks"][i], h, context, o);
        if (o.Linear) h = m["proj_out"].Linear(h, channels).Transpose(0, 2, 1).ReshapeLike(x);
        else h = m["proj_out"].Conv2d(h.Transpose(0, 2, 1).ReshapeLike(x), channels, kernel: 1);
        return h + x;
    }

    private static Value Block(Module m, Value x, Value context, TransformerOptions o)
    {
        const double Epsilon = 1e-5;
        using var scope = m.Scope();
        x = Blocks.Attention(m["attn1"], m["norm1"].LayerNorm(x, Epsilon), o.OnlyCross ? context : null, o.Heads, bias: false,
            o.Upcast) + x;
        x = Blocks.Attention(m["attn2"], m["norm2"].LayerNorm(x, Epsilon), context, o.Heads, bias: false, o.Upcast) + x;
        return FeedForward(m["ff"], m["norm3"].LayerNorm(x, Epsilon)) + x;
    }

    // GEGLU: one projection gives values and gates.
    private static Value FeedForward(Module m, Value x)
    {
        using var scope = m.Scope();
        var width = x.Shape![-1].Size;
        var parts = m["net"][0]["proj"].Linear(x, 8 * width).Split(-1, 4 * width, 4 * width);
        return m["net"][2].Linear(parts[0] * Gelu(parts[1]), width);
    }
}
