using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Adds low-rank adapters to layers chosen by module path: y += (alpha/rank) B (A x), with A and B parameters of the graph (inputs with a
/// default).
/// Layers are MatMul and Gemm by a fixed matrix and two-dimensional Conv, as we build them and as PyTorch's exporter writes them.
/// Requires: weights that are constants or parameters. Ensures: with the defaults the outputs are the base model's. Source: Hu et al.,
/// 2021.
/// </summary>
public static class InjectLora
{
    /// <summary>Applies the pass.</summary>
    /// <returns>The adapted layers in the order of the graph.</returns>
    /// <exception cref="UserError">A target matches no layer (names what comes near), or matches one that cannot be adapted.</exception>
    public static IReadOnlyList<LoraLayer> Apply(OnnxGraph graph, LoraOptions options)
    {
        options.Validate();
        var readers = graph.Readers();
        var layers = new Dictionary<string, (Value Weight, LoraLayer Layer)>(StringComparer.Ordinal);
        var ends = new Dictionary<Node, (Node Product, LoraLayer Layer)>();
        foreach (var (node, target) in Targets(graph, options))
        {
            // A module that runs twice keeps one adapter; another one of the same path, which its names do not tell apart, gets a number.
            var (path, weight) = (target, Source(node.Inputs[1]!));
            for (var i = 1; layers.TryGetValue(path, out var taken) && taken.Weight != weight; i++) path = $"{target}_{i}";
            if (!layers.TryGetValue(path, out var known)) layers[path] = known = (weight, Declare(node, path, options));
            ends[BiasOf(node, readers) ?? node] = (node, known.Layer);
        }
        graph.Rewrite(node =>
        {
            if (!ends.TryGetValue(node, out var end)) return false;
            graph.Keep(node);
            using var scope = graph.Scope(end.Layer.Path + ".lora");
            graph.Redirect(node.Output, node.Output + Adapter(end.Product, end.Layer, options), readers);
            return true;
        });
        return [.. layers.Values.Select(l => l.Layer)];
    }

    /// <summary>Module paths of all layers that could be adapted, in the order of the graph.</summary>
    public static IReadOnlyList<string> Layers(OnnxGraph graph) => [.. Find(graph, ["*"]).Select(target => target.Path).Distinct()];

    /// <summary>The layers that targets match, with their module paths, in the order of the graph, which stays as it is.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="targets">Globs, as in <see cref="LoraOptions.Targets"/>; those that match nothing find nothing.</param>
    public static IReadOnlyList<(Node Node, string Path)> Find(OnnxGraph graph, IReadOnlyList<string> targets) =>
        Matches(graph, targets).Found;

    private static (List<(Node Node, string Path)> Found, bool[] Matched, HashSet<string> Others) Matches(OnnxGraph graph,
        IReadOnlyList<string> targets)
    {
        var globs = targets.Select(ModuleGlob.Matcher).ToArray();
        var modules = new ModulePaths(graph);
        var matched = new bool[globs.Length];
        var found = new List<(Node, string)>();
        var others = new HashSet<string>(StringComparer.Ordinal);
        foreach (var node in graph.Nodes)
        {
            if (node.Op is not ("MatMul" or "Gemm" or "Conv") || node.Domain.Length > 0 || !IsFixed(node.Input(1), 4)) continue;
            var paths = modules.Of(node).ToList();
            others.UnionWith(paths);
            if (paths.FirstOrDefault(p => globs.Any(g => g(p))) is not { } path) continue;
            for (var i = 0; i < globs.Length; i++) matched[i] |= globs[i](path);
            found.Add((node, path));
        }
        return (found, matched, others);
    }

    /// <summary>The layers that the targets match, and the paths they go by.</summary>
    internal static List<(Node Node, string Path)> Targets(OnnxGraph graph, LoraOptions options)
    {
        var (found, matched, others) = Matches(graph, options.Targets);
        var missing = Array.IndexOf(matched, false);
        // A transformer of one block, or an export with other names, has not all of the layers that are adapted by default; layers that
        // were asked for must be there.
        if (missing < 0 || (found.Count > 0 && options.Targets.SequenceEqual(LoraOptions.JointAttentionTargets))) return found;
        throw new UserError(others.Count == 0
            ? $"LoRA target '{options.Targets[missing]}': model '{graph.Name}' has no linear or convolution layer whose name tells its "
                + $"module; export it with module names"
            : $"LoRA target '{options.Targets[missing]}': matches no linear or convolution layer of model '{graph.Name}'; near ones are "
                + $"{string.Join(", ", ModuleGlob.Near(options.Targets[missing], others, 6))}");
    }

    /// <summary>Whether a value has data, or is computed from such values alone (Identity, Transpose, Cast of a weight).</summary>
    private static bool IsFixed(Value? value, int depth) => value is not null
        && (value.Data is not null || (depth > 0 && value.Producer is { } p && p.Inputs.All(i => i is null || IsFixed(i, depth - 1))));

    /// <summary>The weight that others lay out.</summary>
    private static Value Source(Value value) =>
        value.Data is null && value.Producer is { } p && p.Input(0) is { } input ? Source(input) : value;

    private static Node? BiasOf(Node product, Dictionary<Value, List<Node>> readers) =>
        product.Op == "MatMul" && !product.Graph.Outputs.Contains(product.Output)
        && readers.GetValueOrDefault(product.Output) is [{ Op: "Add" } add] && IsFixed(add.Inputs.First(i => i != product.Output), 4)
            ? add : null;

    private static LoraLayer Declare(Node node, string path, LoraOptions options)
    {
        var weight = node.Inputs[1]!;
        var isConv = node.Op == "Conv";
        if (weight.Shape is not { IsStatic: true } shape || shape.Rank != (isConv ? 4 : 2))
            throw new UserError($"{node}: expected a weight {(isConv ? "[out,in,kh,kw]" : "of two dimensions")}, got "
                + $"{weight.Shape?.ToString() ?? "no shape"}; leave '{path}' out of the LoRA targets");
        if (node.Attribute("group", 1L) != 1 || node.Attribute("transA", 0L) != 0)
            throw new UserError($"{node}: a grouped convolution or transposed input cannot have a LoRA; leave '{path}' out of the targets");
        var outFirst = isConv || node.Attribute("transB", 0L) != 0;
        var (outSize, inSize) = (shape[outFirst ? 0 : 1].Size, shape[outFirst ? 1 : 0].Size);
        var kernel = isConv ? shape.Sizes[2..] : [];
        var name = (path.StartsWith(options.Prefix, StringComparison.Ordinal) ? "" : options.Prefix) + path;
        var type = options.Type ?? weight.Type;
        return new LoraLayer(path, inSize, outSize, kernel,
            Declare(node.Graph, name + ".lora_A.weight", type, options, 0, [options.RankOf(path), inSize, .. kernel]),
            Declare(node.Graph, name + ".lora_B.weight", type, options, 1, isConv ? [outSize, options.RankOf(path), 1, 1]
                : [outSize, options.RankOf(path)]));
    }

    private static Value Declare(OnnxGraph graph, string name, ElementType type, LoraOptions options, int rankAxis, long[] dims)
    {
        if (options.AnyRank) dims[rankAxis] = 0;
        var value = graph.Parameter(name, new Tensor(type, dims, new byte[dims.Aggregate((long)type.SizeOf(), (a, b) => a * b)]));
        // A symbol for each layer: runtimes share buffers between values of equal symbols, and an adapter may leave layers out.
        if (options.AnyRank) value.Shape = value.Shape!.With(rankAxis, $"rank of {name[..^".lora_A.weight".Length]}");
        return value;
    }

    private static Value Adapter(Node product, LoraLayer layer, LoraOptions options)
    {
        var x = product.Inputs[0]!;
        var type = product.Inputs[1]!.Type;
        var (a, b) = (Cast(layer.A, type), Cast(layer.B, type));
        var scale = options.Scale * product.Attribute("alpha", 1f);
        return product.Op switch
        {
            "Gemm" => Gemm(Scaled(Gemm(x, a, transposeB: true)), b, transposeB: true),
            "MatMul" => MatMul(Scaled(MatMul(x, a.T())), b.T()),
            _ => Conv(Scaled(product.Graph.Op("Conv", [x, a], [.. product.Attributes.Select(t => (t.Key, t.Value))])), b, null),
        };

        Value Scaled(Value h) => scale == 1 ? h : h * scale;
    }
}
