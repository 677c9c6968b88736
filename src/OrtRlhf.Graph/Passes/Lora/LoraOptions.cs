namespace OrtRlhf.Graph.Passes;

/// <summary>Which layers get low-rank adapters, and of what kind: y = W x + b + (alpha/rank) B (A x). Source: Hu et al., 2021.</summary>
public sealed record LoraOptions
{
    /// <summary>The layers that are adapted by default, attention's four.</summary>
    public static IReadOnlyList<string> AttentionTargets { get; } = ["to_q", "to_k", "to_v", "to_out.0"];

    /// <summary>
    /// What tuning adapts in transformers whose text and image attend to each other (Stable Diffusion 3, FLUX): attention's four, those of
    /// the text's side, and
    /// the modulation by time and text before them, which carried more signal to noise than to_q, to_k and to_out.0 in a policy gradient of
    /// models/shapes-flow. Of these
    /// those that a model has.
    /// </summary>
    public static IReadOnlyList<string> JointAttentionTargets { get; } =
        [.. AttentionTargets, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm1.linear", "norm1_context.linear"];

    /// <summary>What tuning adapts by default.</summary>
    /// <param name="denoiser">The denoiser's name in its pipeline, <c>unet</c> or <c>transformer</c>.</param>
    public static IReadOnlyList<string> TargetsFor(string denoiser) => denoiser == "transformer" ? JointAttentionTargets : AttentionTargets;

    /// <summary>
    /// Module paths to adapt, as globs over dotted paths such as <c>down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q</c>. A glob
    /// matches
    /// the end of a path, at whole names: <c>to_q</c>, <c>attn2.to_*</c>. <c>*</c> stands for a name or a part of one, <c>**</c> for any
    /// names. Each must match, but for <see cref="JointAttentionTargets"/>.
    /// </summary>
    public IReadOnlyList<string> Targets { get; init; } = AttentionTargets;

    /// <summary>Rank r of the adapters, at least 1.</summary>
    public int Rank { get; init; } = 4;

    /// <summary>
    /// Ranks of single layers by their whole module paths, in place of <see cref="Rank"/>, as an adapter that is trained on has them; null
    /// for none. Alpha is then null.
    /// </summary>
    public IReadOnlyDictionary<string, int>? Ranks { get; init; }

    /// <summary>Alpha; the adapter's output is multiplied by alpha/rank. Null: the rank, so that the factor is 1.</summary>
    public double? Alpha { get; init; }

    /// <summary>
    /// Defaults that are empty and of a symbolic rank, instead of zeros of <see cref="Rank"/>: the model accepts adapters of any rank,
    /// another one
    /// in each layer if need be, and computes exactly the base model's output without them. Such a model cannot be trained.
    /// </summary>
    public bool AnyRank { get; init; }

    /// <summary>Put before the module's path in the parameters' names.</summary>
    public string Prefix { get; init; } = "unet.";

    /// <summary>
    /// Element type of the parameters; null for that of each layer's weight. A float adapter on a half-precision layer is cast in the
    /// graph.
    /// </summary>
    public ElementType? Type { get; init; }

    /// <summary>The rank of a layer.</summary>
    /// <param name="path">Its module path.</param>
    public int RankOf(string path) => Ranks?.GetValueOrDefault(path, Rank) ?? Rank;

    /// <summary>The factor alpha/rank.</summary>
    public double Scale => (Alpha ?? Rank) / Rank;

    /// <summary>Checks all options.</summary>
    /// <exception cref="UserError">Names every fault.</exception>
    public void Validate()
    {
        var faults = new List<string>();
        if (Targets.Count == 0
            || Targets.Any(string.IsNullOrWhiteSpace)) faults.Add("targets: expected at least one module path glob, none of them empty");
        if (Rank < 1) faults.Add($"rank: expected at least 1, got {Rank}");
        if (Alpha is { } alpha && !(alpha > 0 && double.IsFinite(alpha))) faults.Add($"alpha: expected a positive number, got {alpha}");
        if (Ranks is { } ranks && (Alpha is not null
            || ranks.Values.Any(r => r < 1))) faults.Add("ranks: expected at least 1 in each layer, and no alpha beside them");
        if (Type is { } type && !type.IsFloating()) faults.Add($"type: expected a floating type, got {type}");
        if (faults.Count > 0) throw new UserError($"LoRA options: {string.Join("; ", faults)}");
    }
}
