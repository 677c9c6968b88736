namespace OrtRlhf.Graph.Passes;

/// <summary>A layer with a low-rank adapter.</summary>
/// <param name="Path">Dotted module path, such as <c>mid_block.attentions.0.transformer_blocks.0.attn1.to_q</c>.</param>
/// <param name="In">Input features or channels.</param>
/// <param name="Out">Output features or channels.</param>
/// <param name="Kernel">Height and width of a convolution's kernel; empty for a linear layer.</param>
/// <param name="A">Parameter [r, in], of a convolution [r, in, kh, kw]; named <c>PREFIX PATH.lora_A.weight</c>.</param>
/// <param name="B">Parameter [out, r], of a convolution [out, r, 1, 1]; named <c>PREFIX PATH.lora_B.weight</c>.</param>
public sealed record LoraLayer(string Path, long In, long Out, IReadOnlyList<long> Kernel, Value A, Value B);
