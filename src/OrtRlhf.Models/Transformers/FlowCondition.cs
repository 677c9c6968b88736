using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>The condition that all blocks of a flow transformer see: embeddings of timestep, guidance and pooled text, summed.</summary>
internal static class FlowCondition
{
    private const long Frequencies = 256;

    /// <summary>silu of the sum [B,E]: its activation, which each block's modulation begins with.</summary>
    /// <param name="m">Its module.</param>
    /// <param name="width">Width E.</param>
    /// <param name="timestep">Timesteps from 0 to 1000, [B] or [1].</param>
    /// <param name="pooled">Pooled text [B,P].</param>
    /// <param name="guidance">Guidance times 1000, [B] or [1], for models that were distilled with it.</param>
    public static Value Forward(Module m, long width, Value timestep, Value pooled, Value? guidance = null)
    {
        using var scope = m.Scope();
        var sum = Blocks.Mlp(m["text_embedder"], pooled, width, "silu") + Embedded("timestep_embedder", timestep);
        return Silu(guidance is null ? sum : sum + Embedded("guidance_embedder", guidance));

        Value Embedded(string name, Value number) =>
            Blocks.Mlp(m[name], Cast(Blocks.Sinusoids(number, Frequencies, cosineFirst: true, shift: 0), pooled.Type), width, "silu");
    }
}
