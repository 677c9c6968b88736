using System.Text.RegularExpressions;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>
/// The names that diffusers and PEFT give to adapters, brought to the one form <c>unet.MODULE.lora_A.weight</c>: PEFT's own files
/// (<c>base_model.model.MODULE.lora_A.weight</c>), a denoiser saved alone (no prefix), the adapter's name in it
/// (<c>lora_A.default.weight</c>), and older diffusers'
/// (<c>MODULE.lora.down.weight</c>, <c>attn1.processor.to_q_lora.down.weight</c>,
/// <c>text_encoder.….q_proj.lora_linear_layer.down.weight</c>).
/// </summary>
internal static partial class PeftNames
{
    private const string Peft = "base_model.model.";
    private static readonly string[] Prefixes = [AdapterFile.UNetPrefix, "text_encoder", AdapterFile.TransformerPrefix, "lora_"];

    /// <summary>Whether PEFT wrote the file itself, with adapter_config.json beside it.</summary>
    public static bool IsPefts(IEnumerable<string> names) => names.Any(n => n.StartsWith(Peft, StringComparison.Ordinal));

    /// <summary>Today's names of a file's tensors.</summary>
    public static Dictionary<string, string> Today(IReadOnlyCollection<string> names)
    {
        var alone = !names.Any(n => Prefixes.Any(p => n.StartsWith(p, StringComparison.Ordinal)));
        return names.ToDictionary(n => n, n =>
        {
            var name = Form(n.StartsWith(Peft, StringComparison.Ordinal) ? n[Peft.Length..] : n);
            if (!alone) return name;
            if (name.StartsWith("text_model.", StringComparison.Ordinal)) return "text_encoder." + name;
            return (name.Contains("transformer_blocks.", StringComparison.Ordinal)
                && !name.Contains("attentions.", StringComparison.Ordinal) ? AdapterFile.TransformerPrefix : AdapterFile.UNetPrefix) + name;
        }, StringComparer.Ordinal);
    }

    private static string Form(string name)
    {
        name = Text().Replace(name, match =>
            $".{(match.Groups[1].Value == "to_out" ? "out" : match.Groups[1].Value[3..])}_proj.{match.Groups[2].Value}.weight");
        name = Processor().Replace(name, match =>
            $".{(match.Groups[1].Value == "to_out" ? "to_out.0" : match.Groups[1].Value)}.{match.Groups[2].Value}.weight");
        return Ending().Replace(name, match => match.Groups[1].Value switch
        {
            "lora.down" or "lora_linear_layer.down" or "down" =>
            ".lora_A.weight",
            "lora.up" or "lora_linear_layer.up" or "up" => ".lora_B.weight",
            var known => $".{known}.weight"
        });
    }

    [GeneratedRegex(@"(?<=\.self_attn)\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex Text();

    [GeneratedRegex(@"\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex Processor();

    [GeneratedRegex(
        @"\.(lora\.down|lora\.up|lora_linear_layer\.down|lora_linear_layer\.up|down|up|lora_A(?=\.[^.]+\.weight$)|lora_B(?=\.[^.]+\.weight$))(?:\.[^.]+)?\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex Ending();
}
