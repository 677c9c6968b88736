using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Models;

/// <summary>What the attentions of a transformer have in common.</summary>
/// <param name="Heads">Number of heads.</param>
/// <param name="HeadWidth">Width of a head.</param>
/// <param name="Normalized">Whether queries and keys are normalised in each head.</param>
internal sealed record JointOptions(long Heads, long HeadWidth, bool Normalized)
{
    /// <summary>Whether text stands before the image where both attend together.</summary>
    public bool TextFirst { get; init; }

    /// <summary>Turns queries and keys by their places; null for not at all.</summary>
    public RotaryEmbedding? Rotation { get; init; }
}

/// <summary>
/// Attention of image and text to each other and themselves, each with projections of its own. Source: Esser et al., 2024.
/// </summary>
internal static class JointAttention
{
    private const double Epsilon = 1e-6;

    /// <summary>The image's result [B,S,D], and the text's [B,T,D] if it is asked for.</summary>
    public static (Value Image, Value? Text) Forward(Module m, Value image, Value text, JointOptions o, bool textOutput)
    {
        using var scope = m.Scope();
        var width = image.Shape![-1].Size;
        Value[] ofImage = Project(m, image, ["to_q", "to_k", "to_v"], ["norm_q", "norm_k"], o),
            ofText = Project(m, text, ["add_q_proj", "add_k_proj", "add_v_proj"], ["norm_added_q", "norm_added_k"], o);
        var (first, second) = o.TextFirst ? (ofText, ofImage) : (ofImage, ofText);
        var states = Attend([.. first.Zip(second, (a, b) => Layout.Concat(2, a, b))], o);
        var (head, tail) = Cut(states, o.TextFirst ? text : image);
        var (x, y) = o.TextFirst ? (tail, head) : (head, tail);
        return (m["to_out"][0].Linear(x, width), textOutput ? m["to_add_out"].Linear(y, width) : null);
    }

    /// <summary>Attention of one sequence [B,S,D] to itself, without the layer behind it: [B,S,heads*width].</summary>
    public static Value Own(Module m, Value x, JointOptions o)
    {
        using var scope = m.Scope();
        return Attend(Project(m, x, ["to_q", "to_k", "to_v"], ["norm_q", "norm_k"], o), o);
    }

    /// <summary>A sequence [B,S,D] of two, cut behind as many states as its first part has.</summary>
    public static (Value First, Value Second) Cut(Value joined, Value first)
    {
        var (size, all) = (first.Shape![1], joined.Shape![1]);
        if (size.IsKnown && all.IsKnown)
        {
            var parts = joined.Split(1, size.Size, all.Size - size.Size);
            return (parts[0], parts[1]);
        }
        var g = joined.Graph;
        var length = size.IsKnown ? g.Constant(Tensor.Vector(size.Size)) : g.Op("Shape", [first]).Slice(0, 1, 2);
        var axis = g.Constant(Tensor.Vector(1));
        return (g.Op("Slice", [joined, g.Constant(Tensor.Vector(0)), length, axis]),
            g.Op("Slice", [joined, length, g.Constant(Tensor.Vector(long.MaxValue)), axis]));
    }

    /// <summary>Queries, keys and values [B,heads,S,width].</summary>
    private static Value[] Project(Module m, Value x, string[] layers, string[] norms, JointOptions o)
    {
        var parts = layers.Select(layer =>
            m[layer].Linear(x, o.Heads * o.HeadWidth).Reshape(0, 0, o.Heads, o.HeadWidth).Transpose(0, 2, 1, 3)).ToArray();
        for (var i = 0; o.Normalized && i < norms.Length; i++) parts[i] = m[norms[i]].RmsNorm(parts[i], Epsilon);
        return parts;
    }

    private static Value Attend(Value[] parts, JointOptions o)
    {
        var (q, k) = o.Rotation is { } rotation ? (rotation.Turned(parts[0]), rotation.Turned(parts[1])) : (parts[0], parts[1]);
        var states = Functions.Attention(q, k, parts[2], 1 / Math.Sqrt(o.HeadWidth));
        return states.Transpose(0, 2, 1, 3).Reshape(0, 0, o.Heads * o.HeadWidth);
    }
}
