using OrtRlhf.Graph;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>A tokenizer and the text encoder that reads its ids.</summary>
/// <param name="Name">The component's name, such as <c>text_encoder_2</c>.</param>
/// <param name="Tokenize">Token ids of a prompt, padded to the encoder's length S.</param>
/// <param name="Graph">The encoder: <c>input_ids</c> int64 [B,S] to the outputs below and others. The argument is B.</param>
/// <param name="States">Its output with the states [B,S,D] that the denoiser attends to.</param>
/// <param name="Pooled">Its output with one vector a text [B,E], where the denoiser takes that too.</param>
public sealed record TextEncoder(string Name, Func<string, long[]> Tokenize, Func<Dim, OnnxGraph> Graph, string States, string? Pooled = null);
