using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Models;

/// <summary>A tokenizer and the text encoder that reads its ids.</summary>
/// <param name="Name">The component's name, such as <c>text_encoder_2</c>.</param>
/// <param name="Tokenize">Token ids of a prompt, padded to the encoder's length S.</param>
/// <param name="Graph">
/// The encoder: <c>input_ids</c> int64 [B,S] to the outputs below and others. The argument is B. Null for one that the pipeline leaves out,
/// whose states are
/// zeros (T5 of Stable Diffusion 3).
/// </param>
/// <param name="States">Its output with the states [B,S,D] that the denoiser attends to; null where it takes none of this encoder.</param>
/// <param name="Pooled">Its output with one vector a text [B,E], where the denoiser takes that too.</param>
public sealed record TextEncoder(string Name, Func<string, long[]> Tokenize, Func<Dim, OnnxGraph>? Graph, string? States,
    string? Pooled = null)
{
    /// <summary>Whether its states are further tokens behind those of the others, rather than further numbers beside them.</summary>
    public bool IsBehind { get; init; }

    /// <summary>D where there is no graph.</summary>
    public int Width { get; init; }
}
