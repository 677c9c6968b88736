namespace OrtRlhf.Graph.Passes;

/// <summary>
/// A graph's nodes as they are when this is made, to be added once more later: the model before adapters went in, as the reference beside
/// the adapted one.
/// The copy reads the same inputs, constants and parameters. Requires: nodes in topological order, no control flow. Ensures: the copy
/// depends on no value
/// that was added in between.
/// </summary>
public sealed class ForwardCopy
{
    private readonly OnnxGraph _graph;
    private readonly Value _output;
    private readonly List<(Node Node, Value?[] Inputs, Value?[] Outputs)> _nodes;

    /// <summary>Remembers a graph.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="output">The value that the copy is made for.</param>
    /// <exception cref="UserError">The graph has control flow.</exception>
    public ForwardCopy(OnnxGraph graph, Value output)
    {
        (_graph, _output) = (graph, output);
        _nodes = [.. graph.Nodes.Select(n => (n, n.Inputs.ToArray(), n.Outputs.ToArray()))];
        if (graph.Nodes.FirstOrDefault(n => n.Captured.Count > 0) is { } flow)
            throw new UserError($"{flow}: control flow cannot be copied as a reference; export the model without it");
    }

    /// <summary>Adds the copy behind the graph's nodes.</summary>
    /// <param name="scope">Put before the names of its nodes and values.</param>
    /// <returns>The copy of the output.</returns>
    public Value Add(string scope)
    {
        var copies = new Dictionary<Value, Value>();
        foreach (var (node, inputs, outputs) in _nodes)
        {
            var copy = _graph.AddRaw(node.Op, node.Domain, $"/{scope}/{node.Name.TrimStart('/')}");
            foreach (var (name, value) in node.Attributes) copy.Attributes[name] = value;
            copy.Inputs.AddRange(inputs.Select(i => i is null ? null : copies.GetValueOrDefault(i, i)));
            foreach (var output in outputs)
            {
                if (output is null)
                {
                    copy.Outputs.Add(null);
                    continue;
                }
                var value = _graph.NewValue($"{scope}/{output.Name}", copy);
                (value.Type, value.Shape) = (output.Type, output.Shape);
                copy.Outputs.Add(copies[output] = value);
            }
        }
        return copies.GetValueOrDefault(_output, _output);
    }
}
