using System.Text.Json;
using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>
/// What adapters in safetensors say of themselves beside A and B: PEFT's configuration in the header (<c>lora_adapter_metadata</c>, entries
/// <c>unet.r</c>,
/// <c>unet.lora_alpha</c>, <c>text_encoder.r</c>, ...), or kohya's <c>.alpha</c> tensors. Without either, alpha is the rank.
/// </summary>
internal static class AdapterMetadata
{
    private const string Key = "lora_adapter_metadata", Down = ".lora_down.weight", Up = ".lora_up.weight", Alpha = ".alpha";

    /// <summary>The tensors of a file in kohya's names; alpha is the rank, as B has the factor in it.</summary>
    public static IEnumerable<KeyValuePair<string, Tensor>> Kohya(IReadOnlyList<AdapterLayer> layers)
    {
        var isXl = layers.Any(l => l.Component == "text_encoder_2");
        return layers.SelectMany(l => new[] { (Down, l.A), (Up, l.B), (Alpha, Tensor.Scalar((float)l.Rank)) }.Select(t =>
            KeyValuePair.Create(KohyaNames.Of(l, isXl) + t.Item1, t.Item2)));
    }

    /// <summary>The header of a file whose B has alpha/r in it.</summary>
    public static Dictionary<string, string> Write(IReadOnlyList<AdapterLayer> layers)
    {
        var config = new JsonObject();
        foreach (var component in layers.GroupBy(l => l.Component))
        {
            var (prefix, rank) = (component.Key + ".", component.Max(l => l.Rank));
            config[prefix + "peft_type"] = "LORA";
            config[prefix + "r"] = rank;
            config[prefix + "lora_alpha"] = rank;
            config[prefix + "bias"] = "none";
            config[prefix + "lora_dropout"] = 0.0;
            config[prefix + "target_modules"] = new JsonArray([.. component.Select(l => JsonValue.Create(l.Module))]);
            if (component.All(l => l.Rank == rank)) continue;
            foreach (var pattern in (string[])["rank_pattern", "alpha_pattern"])
                config[prefix + pattern] = new JsonObject(component.Where(l => l.Rank != rank).Select(l =>
                    KeyValuePair.Create(l.Module, (JsonNode?)l.Rank)));
        }
        return new Dictionary<string, string> { ["format"] = "pt", [Key] = config.ToJsonString() };
    }

    /// <summary>
    /// The tensors of a file under PEFT's names, alpha/r of a layer (null: 1), and whether modules are kohya's, with underscores for dots.
    /// </summary>
    public static (IReadOnlyList<(string Name, Tensor Data)> Tensors, Func<AdapterLayer, double>? Scale, bool IsKohya) Read(string path)
    {
        var file = SafetensorsFile.Open(path);
        if (!file.Tensors.Keys.Any(n => KohyaNames.Prefixes.Any(p => n.StartsWith(p.Prefix, StringComparison.Ordinal))))
        {
            var names = PeftNames.Today([.. file.Tensors.Keys]);
            if (names.Values.Distinct()
                .Count() < names.Count) throw new UserError($"adapter '{path}': names layers in two ways at once; expected one");
            return ([.. file.Tensors.Select(t => (names[t.Key], t.Value))], (file.Metadata.GetValueOrDefault(Key) ?? Beside()) is { } json
                ? Peft(json, path) : null, false);
        }
        var (tensors, scale) = Kohya(file, path);
        return (tensors, scale, true);

        // PEFT keeps alpha in a file of its own.
        string? Beside()
        {
            var config = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, "adapter_config.json");
            if (!PeftNames.IsPefts(file.Tensors.Keys) || !File.Exists(config)) return null;
            return new FileInfo(config).Length < 1 << 20 ? File.ReadAllText(config)
                : throw new UserError($"adapter '{config}': expected at most a megabyte");
        }
    }

    private static Func<AdapterLayer, double> Peft(string json, string path)
    {
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 8 });
            var config = document.RootElement.Clone();
            if (config.ValueKind != JsonValueKind.Object) throw new JsonException();
            // A component saved alone has no prefix.
            var alone = !config.EnumerateObject().Any(e =>
                AdapterFile.Components.Any(c => e.Name.StartsWith(c + ".", StringComparison.Ordinal)));
            return layer =>
            {
                var prefix = alone ? "" : layer.Component + ".";
                if (Is(prefix + "use_dora")) throw new UserError($"adapter '{path}': {prefix}use_dora = true; expected a plain LoRA");
                var patterns = config.TryGetProperty(prefix + "alpha_pattern", out var p) && p.ValueKind == JsonValueKind.Object ? p
                    : (JsonElement?)null;
                return (Pattern(patterns, layer.Module) ?? Number(config, prefix + "lora_alpha")
                    ?? layer.Rank) / (Is(prefix + "use_rslora") ? Math.Sqrt(layer.Rank) : layer.Rank);
            };

            bool Is(string key) => config.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.True;
        }
        catch (JsonException fault)
        {
            throw new UserError($"adapter '{path}': {Key} in the header is not a JSON object", fault);
        }

        double? Number(JsonElement config, string key) =>
            !config.TryGetProperty(key, out var value) || value.ValueKind == JsonValueKind.Null ? null
            : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var number) && double.IsFinite(number) ? number
            : throw new UserError(
                $"adapter '{path}': {key} in the header: expected a number, got {value.GetRawText().ReplaceLineEndings(" ")}");

        // A pattern is the path or its end.
        double? Pattern(JsonElement? patterns, string layer) => patterns?.EnumerateObject()
            .Where(e => layer == e.Name || layer.EndsWith("." + e.Name, StringComparison.Ordinal)).Select(e =>
                Number(patterns.Value, e.Name)).FirstOrDefault();
    }

    // lora_unet_MODULE.lora_down.weight, .lora_up.weight and a number .alpha.
    private static (IReadOnlyList<(string, Tensor)>, Func<AdapterLayer, double>) Kohya(SafetensorsFile file, string path)
    {
        var tensors = new List<(string, Tensor)>();
        var alphas = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (var (name, tensor) in file.Tensors)
        {
            var ending = ((string[])[Down, Up, Alpha]).FirstOrDefault(e => name.EndsWith(e, StringComparison.Ordinal));
            if (ending is null || KohyaNames.Parse(name[..^ending.Length]) is not { } module)
                throw new UserError($"adapter '{path}': expected tensors named "
                    + $"{string.Join(", ", KohyaNames.Prefixes.Select(p => p.Prefix))} and MODULE{Down}, {Up} and {Alpha}, linear layers "
                    + $"and convolutions of the denoiser or of CLIP's text encoders, got '{name}'");
            if (ending != Alpha) tensors.Add((module + (ending == Down ? AdapterFile.SuffixA : AdapterFile.SuffixB), tensor));
            else alphas[module] = tensor.Count == 1 ? tensor.ToFloats()[0]
                : throw new UserError($"adapter '{path}': '{name}': expected one number, got {tensor}");
        }
        return (tensors, layer => alphas.TryGetValue($"{layer.Component}.{layer.Module}", out var alpha) ? alpha / layer.Rank : 1);
    }
}
