using System.Numerics.Tensors;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Adds low-rank adapters into the weights of their layers: W' = W + B A, rounded to the weight's type. Requires: layers as
/// <see cref="InjectLora"/> takes them.
/// Ensures: no more nodes and inputs than before, but for an Add where a weight is computed from others (shared or transposed by nodes).
/// </summary>
public static class MergeLora
{
    /// <summary>Applies the pass.</summary>
    /// <param name="graph">The model.</param>
    /// <param name="layers">A [r,in,...] and B [out,r,...] by whole module path, the factor alpha/r in B.</param>
    /// <exception cref="UserError">The model has no such layer, or of another size.</exception>
    public static void Apply(OnnxGraph graph, IReadOnlyDictionary<string, (Tensor A, Tensor B)> layers)
    {
        var merged = new Dictionary<(Value Weight, string Path), Value>();
        foreach (var (node, path) in InjectLora.Targets(graph, new LoraOptions { Targets = [.. layers.Keys] }))
        {
            if (!layers.TryGetValue(path, out var layer)) throw new UserError($"merge: model '{graph.Name}': expected the layer '{path}' "
                + $"among the adapter's, whose names are the end of it; give whole module paths");
            var weight = node.Inputs[1]!;
            if (!merged.TryGetValue((weight, path), out var sum)) merged[(weight, path)] = sum = Sum(node, weight, path, layer.A, layer.B);
            node.Inputs[1] = sum;
        }
        graph.Sort();
        graph.RemoveUnused();
    }

    /// <summary>B A as a matrix [out, in*kh*kw].</summary>
    public static float[] Product(Tensor a, Tensor b)
    {
        var (rank, rows) = ((int)a.Dims[0], (int)b.Dims[0]);
        var width = (int)(a.Count / rank);
        float[] left = b.ToFloats(), right = a.ToFloats(), result = new float[(long)rows * width];
        for (var row = 0; row < rows; row++)
        {
            var into = result.AsSpan(row * width, width);
            for (var k = 0; k < rank; k++) TensorPrimitives.MultiplyAdd(right.AsSpan(k * width, width), left[(row * rank) + k], into, into);
        }
        return result;
    }

    /// <summary>W + B A in the type of W, computed when asked for.</summary>
    /// <param name="weight">W [out, in, ...].</param>
    /// <param name="a">A [r, in, ...].</param>
    /// <param name="b">B [out, r, ...].</param>
    public static Tensor Add(Tensor weight, Tensor a, Tensor b) => new(weight.Type, weight.Dims, () =>
    {
        var (sum, product) = (weight.ToFloats(), Product(a, b));
        TensorPrimitives.Add(sum, product, sum);
        return Tensor.Of(sum, weight.Dims).As(weight.Type).Bytes();
    });

    private static Value Sum(Node node, Value weight, string path, Tensor a, Tensor b)
    {
        var outFirst = node.Op == "Conv" || node.Attribute("transB", 0L) != 0;
        var dims = weight.Shape is { IsStatic: true } shape ? shape.Sizes : [];
        long[] expected = outFirst ? [b.Dims[0], .. a.Dims.AsSpan(1)] : [a.Dims[1], b.Dims[0]];
        if (!dims.AsSpan().SequenceEqual(expected)) throw new UserError($"merge: '{path}' of model '{node.Graph.Name}' has a weight "
            + $"{weight.Shape}, got A {a} and B {b}; the adapter belongs to another model");
        if (weight.Data is { } data)
        {
            return node.Graph.Constant(outFirst ? Add(data, a, b) : new Tensor(data.Type, data.Dims, () =>
                Add(data.Transposed(), a, b).Transposed().Bytes()));
        }
        var delta = new Tensor(ElementType.Float, [b.Dims[0], a.Count / a.Dims[0]], () =>
            Tensor.Of(Product(a, b), b.Dims[0], a.Count / a.Dims[0]).Bytes());
        return weight + node.Graph.Constant((outFirst ? delta.Reshaped(expected) : delta.Transposed()).As(weight.Type));
    }
}
