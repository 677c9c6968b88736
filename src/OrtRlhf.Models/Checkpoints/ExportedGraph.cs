using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Models;

/// <summary>
/// Component graphs that others exported (Optimum's <c>NAME/model.onnx</c>), brought to what we build ourselves: inputs and outputs of
/// given
/// names and types (casts are added where an export differs), operator set 17 or newer, halves widened, normalisation and attention
/// recognised, sizes frozen on request.
/// </summary>
public static class ExportedGraph
{
    /// <summary>Reads a component's graph.</summary>
    /// <param name="folder">The component.</param>
    /// <param name="inputs">Names and types of all its inputs.</param>
    /// <param name="output">Name of the output to keep; it becomes a Float.</param>
    /// <param name="sizes">Shapes of inputs to freeze, 0 for a size that the graph has fixed itself; null leaves dimensions open.</param>
    /// <param name="others">Names of further outputs to keep, after that one.</param>
    /// <exception cref="UserError">The graph is not valid, has other inputs or outputs, or cannot have those sizes.</exception>
    public static OnnxGraph Read(
        ComponentFolder folder, IReadOnlyList<(string Name, ElementType Type)> inputs, string output,
            IReadOnlyDictionary<string, long[]>? sizes = null,
        IReadOnlyList<string>? others = null)
    {
        var graph = folder.ReadGraph();
        graph.Name = folder.Name;
        RaiseOpset.Apply(graph);
        WidenHalves.Apply(graph);
        RemoveEmptyAdapters(graph);
        var have = graph.Inputs.Where(i => i.Data is null).Select(i => i.Name).ToList();
        if (!have.ToHashSet().SetEquals(inputs.Select(i => i.Name)))
            throw new UserError($"{folder.Name}: '{Path.Combine(folder.Path, "model.onnx")}': expected inputs "
                + $"{string.Join(", ", inputs.Select(i => i.Name))}, got {string.Join(", ", have)}");
        Value[] kept = [.. new[] { output }.Concat(others ?? []).Select(name => graph.Outputs.FirstOrDefault(o => o.Name == name)
            ?? throw new UserError($"{folder.Name}: '{Path.Combine(folder.Path, "model.onnx")}': expected an output {name}, got "
                + $"{string.Join(", ", graph.Outputs.Select(o => o.Name))}"))];
        graph.Outputs.Clear();
        graph.Outputs.AddRange(kept);
        foreach (var (name, type) in inputs) Boundary.Take(graph, graph[name], type);
        foreach (var value in kept) Boundary.Give(graph, value, ElementType.Float);
        graph.Sort();
        graph.RemoveUnused();
        if (sizes is null) return Recognized(graph);
        var frozen = new Dictionary<string, long[]>();
        foreach (var (name, shape) in sizes)
        {
            // One timestep for all rows becomes one a row: exports expand it to the batch.
            if (graph[name].Shape is { Rank: 1 } s && s[0] == 1 && shape is [> 1]) graph[name].Shape = new Shape("rows of " + name);
            frozen[name] = [.. shape.Select((size, i) =>
                size == 0 && graph[name].Shape is { } known && i < known.Rank && known[i].IsKnown ? known[i].Size : size)];
        }
        FreezeShapes.Apply(graph, frozen);
        return Recognized(graph);
    }

    private static OnnxGraph Recognized(OnnxGraph graph)
    {
        FoldConstants.Apply(graph);
        RecognizeComposites.Apply(graph);
        return graph;
    }

    // An export of ours declares adapters with empty defaults (y + B A x); whoever wants adapters puts them in anew.
    internal static void RemoveEmptyAdapters(OnnxGraph graph)
    {
        var empty = graph.Inputs.Where(i => i.Data is { Count: 0 }).ToList();
        if (empty.Count == 0) return;
        foreach (var sum in graph.Nodes.Where(n => n.Op == "Add" && n.Name.EndsWith(".lora/Add", StringComparison.Ordinal))
            .ToList()) graph.Redirect(sum.Output, sum.Inputs[0]!);
        foreach (var input in empty) graph.MakeConstant(input, input.Data!);
        graph.RemoveUnused();
    }
}
