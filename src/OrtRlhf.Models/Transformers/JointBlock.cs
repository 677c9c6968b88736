using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// A block of SD3 and FLUX: image and text attend together, and each passes a feed-forward layer of its own; all steps are normalised,
/// scaled, shifted and
/// gated by the condition. Source: Esser et al., 2024.
/// </summary>
internal static class JointBlock
{
    /// <summary>Image [B,S,D] and text [B,T,D] behind the block; no text behind one that is the text's last.</summary>
    /// <param name="m">Its module.</param>
    /// <param name="image">States of the image.</param>
    /// <param name="text">States of the text.</param>
    /// <param name="condition">Condition [B,E] behind its activation.</param>
    /// <param name="o">Options of the attention.</param>
    /// <param name="dual">Whether the image attends to itself alone as well (SD 3.5).</param>
    /// <param name="last">Whether the text is not needed any more (context_pre_only).</param>
    public static (Value Image, Value? Text) Forward(Module m, Value image, Value text, Value condition, JointOptions o, bool dual = false,
        bool last = false)
    {
        using var scope = m.Scope();
        var width = image.Shape![-1].Size;
        var i = AdaptiveNorm.Modulation(m["norm1"], condition, width, dual ? 9 : 6);
        var t = last ? null : AdaptiveNorm.Modulation(m["norm1_context"], condition, width, 6);
        var xhat = AdaptiveNorm.Standardized(image);
        var given = t is null ? AdaptiveNorm.Continuous(m["norm1_context"], text, condition)
            : AdaptiveNorm.Modulated(AdaptiveNorm.Standardized(text), t[0], t[1]);
        var (ofImage, ofText) = JointAttention.Forward(m["attn"], AdaptiveNorm.Modulated(xhat, i[0], i[1]), given, o, !last);
        image += i[2] * ofImage;
        if (dual) image += i[8] * m["attn2"]["to_out"][0]
            .Linear(JointAttention.Own(m["attn2"], AdaptiveNorm.Modulated(xhat, i[6], i[7]), o), width);
        image += i[5] * FeedForward(m["ff"], AdaptiveNorm.Modulated(AdaptiveNorm.Standardized(image), i[3], i[4]));
        if (t is null || ofText is null) return (image, null);
        text += t[2] * ofText;
        return (image, text + (t[5] * FeedForward(m["ff_context"], AdaptiveNorm.Modulated(AdaptiveNorm.Standardized(text), t[3], t[4]))));
    }

    private static Value FeedForward(Module m, Value x)
    {
        using var scope = m.Scope();
        var width = x.Shape![-1].Size;
        return m["net"][2].Linear(GeluTanh(m["net"][0]["proj"].Linear(x, 4 * width)), width);
    }
}
