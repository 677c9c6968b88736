using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// The weights of products (MatMul, Gemm, Conv) lie as halves and are made single where they are used; all else is computed in single
/// precision, forward and,
/// when it is differentiated afterwards, backward. What is computed differs from the model in single precision by the rounding of the
/// weights alone: products
/// in halves would add theirs, layer by layer, which guidance and steep losses make several percents of a gradient. A half-precision model
/// is widened first.
/// A U-Net's <see cref="InSingle(OnnxGraph)"/> stay as they are. Requires: no adapters yet.
/// </summary>
public static class WeightsInHalves
{
    // A layer's rounding errs by about as much however wide the layer is, and what lies next to the output reaches it undamped.
    private static readonly string[] OfFullSize = ["proj_in", "proj_out", "conv_shortcut", "to_q", "to_k", "to_v", "to_out.0"];

    /// <summary>
    /// The layers of a U-Net whose rounding costs most for the fewest weights: the convolutions at both ends, and the attentions'
    /// projections and the shortcuts of
    /// its first and its last block, which have the latents' full size and the fewest channels. They are 0.9% of the weights of Stable
    /// Diffusion 1.5 and about two
    /// thirds of what rounding does to a guided gradient. Empty for other networks.
    /// </summary>
    public static IReadOnlySet<Node> InSingle(OnnxGraph graph)
    {
        const string Up = "up_blocks.";
        var last = InjectLora.Layers(graph).Where(p => p.StartsWith(Up, StringComparison.Ordinal))
            .Select(p => int.TryParse(p[Up.Length..].Split('.')[0], out var number) ? number : 0).DefaultIfEmpty(-1).Max();
        if (last < 0) return new HashSet<Node>();
        return InjectLora.Find(graph, Singles(last)).Select(found => found.Node).ToHashSet();
    }

    /// <summary>The same by module path, for networks whose last block of <c>up_blocks</c> has that number.</summary>
    public static Predicate<string> InSingle(int lastUpBlock)
    {
        var globs = Singles(lastUpBlock).Select(ModuleGlob.Matcher).ToArray();
        return path => globs.Any(matches => matches(path));
    }

    private static string[] Singles(int lastUpBlock) =>
        ["conv_in", "conv_out",
            .. OfFullSize.SelectMany(layer => new[] { "down_blocks.0.**." + layer, $"up_blocks.{lastUpBlock}.**.{layer}" })];

    /// <summary>Applies the pass.</summary>
    /// <returns>The same graph.</returns>
    /// <exception cref="UserError">When a weight is read: it has numbers beyond what halves hold.</exception>
    public static OnnxGraph Apply(OnnxGraph graph)
    {
        WidenHalves.Apply(graph);
        var singles = new Dictionary<Value, Value>();
        var kept = InSingle(graph);
        graph.Rewrite(node =>
        {
            if (kept.Contains(node) || node is not { Op: "MatMul" or "Gemm" or "Conv", Domain.Length: 0 }
                || node.Input(1) is not { IsConstant: true, Type: ElementType.Float } weight) return false;
            if (!singles.TryGetValue(weight, out var single))
            {
                // The half goes by the weight's name, which says the layer's module.
                var name = weight.Name;
                graph.Rename(weight, name + " in float");
                singles[weight] = single = Functions.Cast(graph.Constant(weight.Data!.InHalves(name), name), ElementType.Float);
            }
            node.Inputs[1] = single;
            return false;
        });
        graph.RemoveUnused();
        return graph;
    }

    /// <summary>
    /// Declares the halves as inputs with defaults, which a runtime cannot make single beforehand, as it does with constants.
    /// </summary>
    /// <returns>Whether there are any.</returns>
    public static bool Keep(OnnxGraph graph)
    {
        var halves = graph.Nodes.Select(node => HalfWeight.Of(node.Input(1))).OfType<Value>().ToHashSet();
        foreach (var half in halves) graph.MakeParameter(half);
        return halves.Count > 0;
    }
}
