using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Adds the adapters of linear layers to the layers' weights at each run, y = x (W + (alpha/rank) (B A)^T), where many rows meet a small
/// matrix: products whose
/// one side is a rank are slow, and each of the two is a pass over the layer's input or output. For inference; a gradient reads what lies
/// between.
/// Requires: adapters injected (parameters of fixed rank). Ensures: the same outputs within rounding.
/// </summary>
public static class AddAdaptersToWeights
{
    // Rows of a batch that is open.
    private const long Batch = 8;

    /// <summary>Applies the pass.</summary>
    /// <returns>How many adapters were added.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var patterns = new Patterns(graph);
        Adapted[] found = [.. graph.Nodes.Select(node => Adapted.Of(patterns, node)).OfType<Adapted>()];
        var (products, sums) = (found.ToDictionary(a => a.Product), found.ToDictionary(a => a.Sum));
        graph.Rewrite(node =>
        {
            if (sums.TryGetValue(node, out var adapted))
            {
                graph.Redirect(node.Output, adapted.Y, patterns.Readers);
                return true;
            }
            if (!products.TryGetValue(node, out adapted)) return false;
            using var scope = graph.Scope(node.Name.TrimStart('/'));
            var change = Functions.MatMul(adapted.A.T(), adapted.B.T());
            node.Inputs[1] = node.Inputs[1]! + (adapted.Scale == 1 ? change : change * adapted.Scale);
            return false;
        });
        graph.RemoveUnused();
        return found.Length;
    }

    /// <summary>A layer y = x W (+ bias), and the sum that adds its adapter.</summary>
    private sealed record Adapted(Node Product, Node Sum, Value Y, Value A, Value B, double Scale)
    {
        public static Adapted? Of(Patterns patterns, Node sum)
        {
            if (sum is not { Op: "Add", Domain.Length: 0 }) return null;
            foreach (var (y, adapter) in Patterns.Both(sum))
            {
                if (patterns.Inner(adapter, "MatMul") is not { } up || Parameter(up) is not { } b) continue;
                var (h, scale) = (up.Inputs[0]!, 1.0);
                if (patterns.Inner(h, "Mul") is { } scaled && Patterns.Number(scaled.Inputs[1]) is { } factor) (h,
                    scale) = (scaled.Inputs[0]!, factor);
                if (patterns.Inner(h, "MatMul") is not { } down || Parameter(down) is not { } a) continue;
                if (patterns.Linear(y) is var (product, _) && product.Inputs[0] == down.Inputs[0]
                    && product.Inputs[1] is { IsConstant: true, Type: ElementType.Float } && Pays(product))
                    return new(product, sum, y, a, b, scale);
            }
            return null;
        }

        // The parameter that a product is by, turned.
        private static Value? Parameter(Node product) =>
            Patterns.Made(product.Inputs[1], "Transpose") is { } turned
                && turned.Inputs[0] is { IsInput: true, Type: ElementType.Float, Shape.IsStatic: true } parameter ? parameter : null;

        private static bool Pays(Node product) => product.Inputs[0]!.Shape is { } x && x[-1].IsKnown
            && x.Dims[..^1].ToArray().Aggregate(1L, (rows, size) => rows * (size.IsKnown ? size.Size : Batch)) >= x[-1].Size;
    }
}
