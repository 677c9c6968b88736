using System.Text.Json;
using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// The table of methods. A line here makes a method known to <c>tune</c>, <c>artifacts</c>, <c>bench</c>, their help and options.json.
/// </summary>
public static class TuningMethods
{
    /// <summary>All, the default first, in the order in which help lists them.</summary>
    public static IReadOnlyList<TuningMethod> All { get; } =
    [
        new(() => new DdpoOptions(), DdpoOptions.TrainingFile),
        new(() => new ReinforceOptions(), ReinforceOptions.TrainingFile),
        new(() => new FlowGrpoOptions(), FlowGrpoOptions.TrainingFile),
        new(() => new NftOptions(), NftOptions.TrainingFile),
        new(() => new EsOptions(), TrainingFile: null),
        new(() => new D3poOptions(), D3poOptions.TrainingFile),
        new(() => new DpoOptions(), DpoOptions.TrainingFile),
        new(() => new IpoOptions(), IpoOptions.TrainingFile),
        new(() => new KtoOptions(), KtoOptions.TrainingFile),
        new(() => new SftOptions(), SftOptions.TrainingFile),
        new(() => new RwrOptions(), TrainingFile: null),
    ];

    /// <summary>The method of a name; null when there is none.</summary>
    public static TuningMethod? Find(string name) => All.FirstOrDefault(method => method.Name == name);

    /// <summary>The losses that can be written to a file.</summary>
    public static IReadOnlyList<TrainingFileMethod> TrainingFiles { get; } = [.. All.Select(method => method.TrainingFile)
        .OfType<TrainingFileMethod>()];

    /// <summary>The loss of a name.</summary>
    /// <param name="name">That of a method, or <c>mse</c>, which sft trains on.</param>
    /// <exception cref="UserError">There is none of that name.</exception>
    public static TrainingFileMethod TrainingFile(string name) =>
        TrainingFiles.FirstOrDefault(file => file.Name == name) ?? Find(name)?.TrainingFile
            ?? throw new UserError(
                $"artifacts: method: expected {string.Join(", ", TrainingFiles.Select(file => file.Name))}, got '{name}'");

    /// <summary>Reads options.json, of this version or of 0.1, whose record held the options of all methods.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="UserError">It cannot be read, or names no method.</exception>
    public static TuningOptions ReadOptions(string path)
    {
        var json = JsonFile.Read<JsonObject>(path);
        var written = json["method"] is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";
        var name = JsonNamingPolicy.KebabCaseLower.ConvertName(written);
        var method = Find(name)
            ?? throw new UserError($"{path}: method: expected {string.Join(", ", All.Select(m => m.Name))}, got '{name}'");
        // 0.1 had one beta for the methods that learn from choices and another for nft, which is nft's beta now.
        if (json.Remove("nftBeta", out var beta) && name == "nft") json["beta"] = beta?.DeepClone();
        try
        {
            return (TuningOptions)json.Deserialize(method.Options.GetType(), JsonFile.Indented)!;
        }
        catch (JsonException fault)
        {
            throw new UserError($"{path}: not the JSON expected: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
    }
}

/// <summary>A method.</summary>
/// <param name="New">Makes its options at their defaults.</param>
/// <param name="TrainingFile">Its loss as a file; null where it has none of its own.</param>
public sealed record TuningMethod(Func<TuningOptions> New, TrainingFileMethod? TrainingFile)
{
    /// <summary>Its options at their defaults.</summary>
    public TuningOptions Options { get; } = New();

    /// <summary>Its name on the command line and in files.</summary>
    public string Name => Options.Method;
}
