using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>The transformer that both towers of CLIP have: pre-normalised attention and feed-forward layers.</summary>
internal static class ClipEncoder
{
    /// <summary>Gives the states [B,S,D] behind each layer, the input first.</summary>
    public static List<Value> Forward(Module m, Value x, long layers, long heads, long intermediate, string activation, double epsilon,
        Value? mask)
    {
        using var scope = m.Scope();
        var states = new List<Value> { x };
        for (var i = 0; i < layers; i++)
        {
            var layer = m["layers"][i];
            using var inLayer = layer.Scope();
            x += Attention(layer["self_attn"], layer["layer_norm1"].LayerNorm(x, epsilon), heads, mask);
            x += Mlp(layer["mlp"], layer["layer_norm2"].LayerNorm(x, epsilon), intermediate, activation);
            states.Add(x);
        }
        return states;
    }

    private static Value Attention(Module m, Value x, long heads, Value? mask)
    {
        using var scope = m.Scope();
        var width = x.Shape![-1].Size;
        if (width % heads != 0) throw new UserError(
            $"module '{m.Path}': expected a hidden_size that num_attention_heads divides, got {width} and {heads}; check config.json");
        var o = Blocks.MultiHead(m["q_proj"].Linear(x, width), m["k_proj"].Linear(x, width), m["v_proj"].Linear(x, width), heads, mask);
        return m["out_proj"].Linear(o, width);
    }

    private static Value Mlp(Module m, Value x, long intermediate, string activation)
    {
        using var scope = m.Scope();
        return m["fc2"].Linear(Activation.Apply(activation, m["fc1"].Linear(x, intermediate)), x.Shape![-1].Size);
    }
}
