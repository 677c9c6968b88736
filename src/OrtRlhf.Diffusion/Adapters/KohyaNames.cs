using System.Globalization;
using System.Text.RegularExpressions;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>
/// The names of kohya's adapters, <c>lora_unet_MODULE.lora_down.weight</c>: module paths with underscores for dots, either diffusers'
/// (Stable Diffusion 1 and 2) or,
/// for XL, those of the original code (<c>input_blocks_4_1_...</c>). Only a model can tell the dots. Layers of text encoders begin with
/// <c>lora_te_</c>, of XL's
/// two with <c>lora_te1_</c> and <c>lora_te2_</c>; the names of CLIP's layers are known.
/// </summary>
internal static partial class KohyaNames
{
    /// <summary>Put before module paths.</summary>
    public const string Prefix = "lora_unet_";

    /// <summary>What is put before module paths, by component.</summary>
    public static IReadOnlyList<(string Prefix, string Component)> Prefixes { get; } =
        [(Prefix, "unet"), ("lora_te_", "text_encoder"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2")];

    /// <summary>The name of a layer.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="isXl">Whether there are two text encoders.</param>
    public static string Of(AdapterLayer layer, bool isXl) => layer.Component switch
    {
        "text_encoder" => isXl ? "lora_te1_" : "lora_te_",
        "text_encoder_2" => "lora_te2_",
        _ => Prefix,
    } + layer.Module.Replace('.', '_');

    /// <summary>
    /// A name as <c>COMPONENT.MODULE</c>, the module with its dots in a text encoder and without in a denoiser; null for a name that is not
    /// kohya's.
    /// </summary>
    public static string? Parse(string name)
    {
        if (Prefixes.FirstOrDefault(p =>
            name.StartsWith(p.Prefix, StringComparison.Ordinal)) is not { Prefix: { } prefix } known) return null;
        var module = name[prefix.Length..];
        if (!AdapterFile.TextEncoders.Contains(known.Component)) return $"{known.Component}.{module}";
        if (module == "text_projection") return $"{known.Component}.{module}";
        var match = TextLayer().Match(module);
        return match.Success
            ? $"{known.Component}.text_model.encoder.layers.{match.Groups[1].Value}.{match.Groups[2].Value}.{match.Groups[3].Value}" : null;
    }

    /// <summary>A file with kohya's names as one with the module paths of a model.</summary>
    /// <exception cref="UserError">The model has no such module.</exception>
    public static AdapterFile Named(AdapterFile file, ImageModel model)
    {
        if (!file.HasKohyaNames) return file;
        var paths = file.Layers.Count == 0 ? [] : Paths(InjectLora.Layers(model.Denoiser("batch")));
        return file with
        {
            HasKohyaNames = false,
            Layers = [.. file.Layers.Select(l => l with
            {
                Module = paths.TryGetValue(l.Module, out var path) ? path
                    : throw new UserError($"adapter '{file.Path}': model '{model.Name}' has no layer for {Prefix}{l.Module}"),
            })],
        };
    }

    /// <summary>Module paths by both their names, without the prefix.</summary>
    internal static Dictionary<string, string> Paths(IReadOnlyList<string> modules)
    {
        var paths = new Dictionary<string, string>(StringComparer.Ordinal);
        var layers = modules.Select(m => FirstBlock().Match(m)).Where(m => m.Success).Select(m => Number(m.Groups[1]) + 1)
            .DefaultIfEmpty(0).Max();
        var withAttention = modules.Select(m => Block().Match(m)).Where(m => m.Groups[3].Value == "attentions").Select(m =>
            m.Groups[1].Value + m.Groups[2].Value).ToHashSet();
        foreach (var module in modules)
        {
            paths[module.Replace('.', '_')] = module;
            if (Original(module, layers, withAttention) is { } name) paths.TryAdd(name.Replace('.', '_'), module);
        }
        return paths;
    }

    // diffusers' path in the names of the original code, where each layer of a block is an entry of one list; null where it is the same.
    private static string? Original(string path, int layers, HashSet<string> withAttention)
    {
        switch (path)
        {
            case "conv_in": return "input_blocks.0.0";
            case "conv_out": return "out.2";
            case "time_embedding.linear_1": return "time_embed.0";
            case "time_embedding.linear_2": return "time_embed.2";
            case "add_embedding.linear_1": return "label_emb.0.0";
            case "add_embedding.linear_2": return "label_emb.0.2";
            default: break;
        }
        if (Block().Match(path) is not { Success: true } match) return null;
        var (side, block, kind, layer, rest) = (match.Groups[1].Value, match.Groups[2], match.Groups[3].Value, Number(match.Groups[4]),
            match.Groups[5].Value);
        if (kind == "resnets") rest = rest switch
        {
            "conv1" => "in_layers.2",
            "time_emb_proj" => "emb_layers.1",
            "conv2" =>
            "out_layers.3",
            "conv_shortcut" => "skip_connection",
            _ => rest
        };
        if (side == "mid") return string.Create(CultureInfo.InvariantCulture,
            $"middle_block.{(kind == "attentions" ? 1 : 2 * layer)}.{rest}");
        var (first, part) = (Number(block) * (layers + 1), kind == "attentions" ? 1 : 0);
        return (side, kind) switch
        {
            ("down", "downsamplers") => string.Create(CultureInfo.InvariantCulture, $"input_blocks.{first + layers + 1}.0.op"),
            ("down", _) => string.Create(CultureInfo.InvariantCulture, $"input_blocks.{first + layer + 1}.{part}.{rest}"),
            (_, "upsamplers") => string.Create(CultureInfo.InvariantCulture,
                $"output_blocks.{first + layers}.{(withAttention.Contains("up" + block.Value) ? 2 : 1)}.{rest}"),
            _ => string.Create(CultureInfo.InvariantCulture, $"output_blocks.{first + layer}.{part}.{rest}"),
        };
    }

    private static int Number(Group group) => int.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex("^text_model_encoder_layers_(\\d{1,4})_(self_attn|mlp)_(q_proj|k_proj|v_proj|out_proj|fc1|fc2)$",
        RegexOptions.CultureInvariant)]
    private static partial Regex TextLayer();

    [GeneratedRegex(@"^down_blocks\.0\.resnets\.(\d{1,4})\.", RegexOptions.CultureInvariant)]
    private static partial Regex FirstBlock();

    [GeneratedRegex(@"^(down|mid|up)_block(?:s\.(\d{1,4}))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d{1,4})\.(.+)$",
        RegexOptions.CultureInvariant)]
    private static partial Regex Block();
}
