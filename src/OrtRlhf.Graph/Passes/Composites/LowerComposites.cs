using OrtRlhf.Graph.Gradients;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Replaces composites (<see cref="OnnxGraph.CompositeDomain"/>) by ONNX operators. Ensures: every node is of a standard operator set.
/// </summary>
public static class LowerComposites
{
    /// <summary>Applies the pass.</summary>
    public static void Apply(OnnxGraph graph)
    {
        var replaced = new Dictionary<Value, Value>();
        graph.Rewrite(node =>
        {
            node.Substitute(value => replaced.GetValueOrDefault(value, value));
            if (node.Domain != OnnxGraph.CompositeDomain) return false;
            using (graph.Scope(node.Name.TrimStart('/')))
            {
                var results = Composite.Of(node).Lower(node);
                for (var i = 0; i < results.Length && i < node.Outputs.Count; i++)
                    if (node.Outputs[i] is { } output) replaced[output] = results[i];
            }
            return true;
        });
        for (var i = 0; i < graph.Outputs.Count; i++)
        {
            if (!replaced.TryGetValue(graph.Outputs[i], out var other)) continue;
            var name = graph.Outputs[i].Name;
            graph.Rename(graph.Outputs[i], name + "/composite");
            if (other.Producer is null || graph.Outputs.Contains(other)) other = graph.Op("Identity", [other]);
            graph.Rename(other, name);
            graph.Outputs[i] = other;
        }
        graph.RemoveUnused();
    }
}
