using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Diffusion.Inspection;

/// <summary>What a graph takes and gives, where adapters can go, and which operators have no gradient.</summary>
internal static class GraphInspection
{
    /// <summary>A graph from a file.</summary>
    public static ComponentReport Of(string name, string className, OnnxGraph graph, IReadOnlyList<string> targets)
    {
        var weights = graph.Values.Values.Select(v => v.Data).OfType<Tensor>().Where(t => t.Type.IsFloating() && t.Dims.Length > 0)
            .ToList();
        var report = new ComponentReport
        {
            Name = name,
            Class = className,
            Format = "onnx",
            Parameters = weights.Sum(t => t.Count),
            Types = Types(weights),
            Opset = graph.Opset,
        };
        try
        {
            return Add(report, graph, targets, recognize: true);
        }
        catch (UserError fault)
        {
            return report with
            {
                Inputs = [.. graph.Inputs.Where(i => i.Data is null).Select(Report)],
                Outputs = [.. graph.Outputs.Select(Report)],
                Note = fault.Message
            };
        }
    }

    /// <summary>Adds what a graph says to a report.</summary>
    public static ComponentReport Add(ComponentReport report, OnnxGraph graph, IReadOnlyList<string> targets, bool recognize = false)
    {
        report = report with
        {
            Inputs = [.. graph.Inputs.Where(i => i.Data is null).Select(Report)],
            Outputs = [.. graph.Outputs.Select(Report)]
        };
        if (recognize)
        {
            RaiseOpset.Apply(graph);
            FoldConstants.Apply(graph);
            RecognizeComposites.Apply(graph);
        }
        var found = InjectLora.Find(graph, targets);
        return report with
        {
            LoraTargets = [.. found.Select(f => f.Path).Distinct()],
            UnsupportedOperators = Unsupported(graph, [.. found.Select(f => f.Node)]),
        };
    }

    /// <summary>Element types, the most frequent first.</summary>
    public static IReadOnlyList<string> Types(IEnumerable<Tensor> weights) =>
        [.. weights.GroupBy(t => t.Type).OrderByDescending(g => g.Sum(t => t.Count)).Select(g => ValueReport.TypeName(g.Key))];

    private static ValueReport Report(Value value) => new(value.Name, ValueReport.TypeName(value.Type), value.Shape is { } shape
        ? [.. shape.Dims.ToArray().Select(d => d.ToString())] : null);

    // A gradient has to come back from the outputs to the targets, and no further.
    private static SortedDictionary<string, int> Unsupported(OnnxGraph graph, HashSet<Node> targets)
    {
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var active = new HashSet<Value>();
        foreach (var node in graph.Nodes)
        {
            var isTarget = targets.Count == 0 ? node.Outputs.Any(o => o is { Type: ElementType.Undefined } || o?.Type.IsFloating() == true)
                : targets.Contains(node);
            if (!isTarget && !node.Inputs.Any(i => i is not null && active.Contains(i))) continue;
            foreach (var output in node.Outputs.OfType<Value>().Where(o =>
                o.Type == ElementType.Undefined || o.Type.IsFloating())) active.Add(output);
            if (GradientRules.Supports(node)) continue;
            var name = node.Domain.Length == 0 ? node.Op : $"{node.Domain}.{node.Op}";
            counts[name] = counts.GetValueOrDefault(name) + 1;
        }
        return counts;
    }
}
