using System.Text.Json;
using System.Text.RegularExpressions;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Names of options: from properties, and those that people know from elsewhere.</summary>
internal static partial class OptionNames
{
    // What diffusers, PEFT, TRL and accelerate call it, and what it was in 0.1.
    private static readonly Dictionary<string, string[]> Elsewhere = new(StringComparer.Ordinal)
    {
        ["accelerator"] = ["device"],
        ["batch-size-sample"] = ["batch-size"],
        ["cfg-scale"] = ["guidance-scale"],
        ["checkpointing-steps"] = ["checkpoint-every"],
        ["dataset"] = ["prompts", "preferences"],
        ["dataset-name"] = ["prompts", "preferences"],
        ["ema-decay"] = ["ema"],
        ["eval-every"] = ["evaluate-every"],
        ["gradient-accumulation-steps"] = ["micro-batch"],
        ["guidance"] = ["guidance-scale"],
        ["kl-beta"] = ["kl-weight"],
        ["kl-coef"] = ["kl-weight"],
        ["kl-coeff"] = ["kl-weight"],
        ["learning-rate-warmup"] = ["warmup-updates"],
        ["logging-dir"] = ["output"],
        ["lora-r"] = ["lora-rank"],
        ["lr"] = ["learning-rate"],
        ["lr-scheduler"] = ["learning-rate-decay"],
        ["lr-scheduler-type"] = ["learning-rate-decay"],
        ["lr-warmup-steps"] = ["warmup-updates"],
        ["max-grad-norm"] = ["max-gradient-norm"],
        ["mixed-precision"] = ["dtype"],
        ["model-name-or-path"] = ["model"],
        ["negative-log-prob-clip"] = ["clip-range"],
        ["nft-beta"] = ["beta"],
        ["num-epochs"] = ["epochs"],
        ["num-generations"] = ["group-size"],
        ["num-inference-steps"] = ["steps"],
        ["num-train-epochs"] = ["epochs"],
        ["num-validation-images"] = ["evaluation-images"],
        ["output-dir"] = ["output"],
        ["per-device-train-batch-size"] = ["micro-batch"],
        ["pretrained-model-name-or-path"] = ["model"],
        ["r"] = ["lora-rank"],
        ["rank"] = ["lora-rank"],
        ["resolution"] = ["image-size"],
        ["resume-from-checkpoint"] = ["resume"],
        ["reward-fn"] = ["reward"],
        ["sample-num-steps"] = ["steps"],
        ["save-every"] = ["checkpoint-every"],
        ["scheduler"] = ["sampler"],
        ["target-modules"] = ["lora-targets"],
        ["torch-dtype"] = ["dtype"],
        ["train-batch-size"] = ["micro-batch"],
        ["train-num-inner-epochs"] = ["passes"],
        ["validation-epochs"] = ["evaluate-every"],
        ["validation-prompt"] = ["held-out-prompts", "prompt"],
    };

    /// <summary>The option of a property: <c>GuidanceScale</c> is <c>guidance-scale</c>.</summary>
    public static string Of(string property) => JsonNamingPolicy.KebabCaseLower.ConvertName(property);

    /// <summary>What libraries say of properties, in backquotes, as the options that they are here.</summary>
    public static string InOptions(string message) => Property().Replace(message, match => "--" + Of(match.Groups[1].Value));

    /// <summary>
    /// The option that was meant: the same under another project's name, or nearly the same letters; null when none is near.
    /// </summary>
    /// <param name="typed">What was typed, without hyphens before it.</param>
    /// <param name="known">The options there are.</param>
    public static string? Meant(string typed, IReadOnlyCollection<string> known)
    {
        typed = typed.Replace('_', '-').ToLowerInvariant();
        return Elsewhere.GetValueOrDefault(typed)?.FirstOrDefault(known.Contains) ?? Spelling.Closest(typed, known);
    }

    [GeneratedRegex("`([A-Z][A-Za-z]*)`")]
    private static partial Regex Property();
}
