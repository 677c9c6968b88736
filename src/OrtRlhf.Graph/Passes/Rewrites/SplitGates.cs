using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Takes a product by a fixed matrix whose result is split in two, as gated feed-forward layers have it, as two products: no pass over
/// memory to take the result
/// apart, nor, in the gradient, to put it together. Requires: adapters injected already (layers lose their names and weights). Ensures: the
/// same outputs within
/// rounding. Source of the layers: Shazeer, 2020.
/// </summary>
public static class SplitGates
{
    /// <summary>Applies the pass.</summary>
    /// <returns>How many products were split.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var (patterns, count) = (new Patterns(graph), 0);
        graph.Rewrite(node =>
        {
            if (node is not { Op: "Split", Domain.Length: 0, Outputs: [{ } first, { } second] } || node.Inputs[0]!.Shape is not { } shape
                || shape.Axis(node.Attribute("axis", 0L)) != shape.Rank - 1) return false;
            if (patterns.Linear(node.Inputs[0]) is not var (product, bias)
                || product.Inputs[1] is not { IsConstant: true, Data: { Dims.Length: 2 } weight }) return false;
            if (bias is not (null or { IsConstant: true, Data.Dims.Length: 1 }) || !first.Shape![-1].IsKnown) return false;
            using var scope = graph.Scope(product.Name.TrimStart('/'));
            var width = first.Shape![-1].Size;
            graph.Redirect(first, Part(0, width), patterns.Readers);
            graph.Redirect(second, Part(width, weight.Dims[1] - width), patterns.Readers);
            count++;
            return true;

            Value Part(long from, long size)
            {
                var y = Functions.MatMul(product.Inputs[0]!, graph.Constant(Columns(weight, from, size)));
                return bias is null ? y : y + graph.Constant(Columns(bias.Data!, from, size));
            }
        });
        graph.RemoveUnused();
        return count;
    }

    /// <summary>Columns of a matrix [k, n] or elements of a vector [n], taken when asked for.</summary>
    private static Tensor Columns(Tensor whole, long from, long count) => new(whole.Type, [.. whole.Dims[..^1], count], () =>
    {
        var (source, size) = (whole.Bytes(), whole.Type.SizeOf());
        var (stride, width) = ((int)whole.Dims[^1] * size, (int)count * size);
        var result = new byte[source.Length / stride * width];
        for (var row = 0; row < source.Length / stride; row++) source.AsSpan((row * stride) + ((int)from * size), width)
            .CopyTo(result.AsSpan(row * width));
        return result;
    });
}
