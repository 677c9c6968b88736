using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Makes one product of those that a module takes of one value by fixed matrices, as attention does for queries, keys and values: fewer, larger products
/// forward and backward. Requires: adapters injected already (layers lose their names). Ensures: the same outputs within rounding.
/// </summary>
public static class MergeProjections
{
    /// <summary>Applies the pass.</summary>
    /// <returns>How many products were merged into others.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var readers = graph.Readers();
        var groups = graph.Nodes.Where(IsProjection).GroupBy(n => (n.Inputs[0]!, Module(n))).Where(g => g.Key.Item2.Length > 0 && g.Count() > 1).ToDictionary(g => g.First(), g => g.ToArray());
        var merged = groups.Values.SelectMany(g => g.Skip(1)).ToHashSet();
        graph.Rewrite(node =>
        {
            if (merged.Contains(node)) return true;
            if (!groups.TryGetValue(node, out var group)) return false;
            using var scope = graph.Scope(Module(node));
            var weights = group.Select(n => Matrix(n)!.Data!).ToArray();
            var parts = Functions.MatMul(node.Inputs[0]!, Functions.Cast(graph.Constant(SideBySide(weights)), node.Inputs[1]!.Type)).Split(-1, [.. weights.Select(w => w.Dims[1])]);
            for (var i = 0; i < group.Length; i++) graph.Redirect(group[i].Output, parts[i], readers);
            return true;
        });
        graph.RemoveUnused();
        return merged.Count;
    }

    private static bool IsProjection(Node node) => node is { Op: "MatMul", Domain.Length: 0 } && Matrix(node) is { Data.Dims.Length: 2 } && node.Inputs[0]!.Shape is { Rank: >= 2 };

    // The constant that a product is by, or that what it is by is made of.
    private static Value? Matrix(Node node) => node.Inputs[1] is { IsConstant: true } constant ? constant : WeightsInHalves.HalfOf(node.Inputs[1]);

    /// <summary>The module that a layer belongs to: <c>/mid/attn1</c> of <c>/mid/attn1/to_q/MatMul</c>.</summary>
    private static string Module(Node node)
    {
        var layer = node.Name.LastIndexOf('/');
        var module = layer > 0 ? node.Name.LastIndexOf('/', layer - 1) : -1;
        return module > 0 ? node.Name[..module] : "";
    }

    /// <summary>Matrices [k, n1], [k, n2], ... as one [k, n1 + n2 + ...], made when asked for.</summary>
    private static Tensor SideBySide(Tensor[] parts) => new(parts[0].Type, [parts[0].Dims[0], parts.Sum(p => p.Dims[1])], () =>
    {
        var rows = (int)parts[0].Dims[0];
        var result = new byte[parts.Sum(p => p.ByteLength)];
        var stride = result.Length / rows;
        var start = 0;
        foreach (var part in parts)
        {
            var (bytes, width) = (part.Bytes(), (int)(part.ByteLength / rows));
            for (var row = 0; row < rows; row++) bytes.AsSpan(row * width, width).CopyTo(result.AsSpan((row * stride) + start));
            start += width;
        }
        return result;
    });
}
