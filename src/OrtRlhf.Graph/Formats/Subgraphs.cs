using OrtRlhf.Graph.Formats.Onnx;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// Bodies of control flow (If, Loop, Scan), which are kept as they were read. Names are unique over a model and all its bodies.
/// </summary>
internal static class Subgraphs
{
    /// <summary>The graphs in an attribute.</summary>
    public static IEnumerable<GraphProto> Of(AttributeProto attribute) =>
        attribute.G is { } graph ? attribute.Graphs.Prepend(graph) : attribute.Graphs;

    /// <summary>Names that a body reads from outside.</summary>
    /// <exception cref="UserError">A body's weights lie in another file.</exception>
    public static IEnumerable<string> Outer(GraphProto body)
    {
        if (body.Initializer.Any(t => t.DataLocation != 0)) throw new UserError(
            $"subgraph '{body.Name}': weights of a subgraph in external data are not supported; save the model with its weights inside");
        var inner = body.Input.Select(i => i.Name).Concat(body.Initializer.Select(i => i.Name)).Concat(body.Node.SelectMany(n => n.Output))
            .ToHashSet(StringComparer.Ordinal);
        var read = body.Node.SelectMany(n => n.Input).Concat(body.Output.Select(o => o.Name))
            .Concat(body.Node.SelectMany(n => n.Attribute).SelectMany(Of).SelectMany(Outer));
        return read.Where(name => name.Length > 0 && !inner.Contains(name)).Distinct();
    }

    /// <summary>The attribute with outer values under their present names.</summary>
    public static AttributeProto Renamed(AttributeProto attribute, IReadOnlyDictionary<string, Value> captured)
    {
        if (captured.All(c => c.Key == c.Value.Name)) return attribute;
        var copy = attribute.Clone();
        foreach (var body in Of(copy)) Rename(body);
        return copy;

        void Rename(GraphProto body)
        {
            foreach (var node in body.Node)
            {
                for (var i = 0; i < node.Input.Count; i++)
                    if (captured.TryGetValue(node.Input[i], out var value)) node.Input[i] = value.Name;
                foreach (var inner in node.Attribute.SelectMany(Of)) Rename(inner);
            }
            foreach (var output in body.Output.Where(o => captured.ContainsKey(o.Name))) output.Name = captured[output.Name].Name;
        }
    }
}
