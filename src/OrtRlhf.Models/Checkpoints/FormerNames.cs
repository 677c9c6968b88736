using System.Text.RegularExpressions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Models;

/// <summary>
/// Names that older diffusers wrote for the attention of autoencoders and unconditional U-Nets, as published Stable Diffusion 1 files still
/// have them:
/// <c>query, key, value, proj_attn</c> for <c>to_q, to_k, to_v, to_out.0</c>; and T5's table of tokens where only the encoder's name for it
/// was kept.
/// </summary>
internal static partial class FormerNames
{
    /// <summary>The same tensors under today's names.</summary>
    public static SafetensorsFile Today(SafetensorsFile file)
    {
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var (name, tensor) in file.Tensors) tensors.TryAdd(Today(name), tensor);
        return file with { Tensors = tensors };
    }

    private static string Today(string name) =>
        name == "encoder.embed_tokens.weight" ? "shared.weight" : Former().Replace(name, match => match.Groups[1].Value switch
    {
        "query" => "to_q",
        "key" => "to_k",
        "value" => "to_v",
        _ => "to_out.0",
    });

    [GeneratedRegex(@"(?<=(?:^|\.)attentions\.\d{1,9}\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)", RegexOptions.CultureInvariant)]
    private static partial Regex Former();
}
