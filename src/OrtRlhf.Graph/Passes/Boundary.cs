using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>Changes the element types of a graph's inputs and outputs, casts between.</summary>
public static class Boundary
{
    /// <summary>Lets the graph take an input in another type. Requires: to be sorted afterwards.</summary>
    public static void Take(OnnxGraph graph, Value input, ElementType type)
    {
        if (input.Type == type) return;
        var (name, place) = (input.Name, graph.Inputs.IndexOf(input));
        graph.Rename(input, name + " as made");
        graph.Inputs.RemoveAt(place);
        var mine = graph.Input(name, type, [.. input.Shape!.Dims]);
        graph.Inputs.Remove(mine);
        graph.Inputs.Insert(place, mine);
        graph.Redirect(input, Functions.Cast(mine, input.Type));
    }

    /// <summary>Lets the graph give an output in another type.</summary>
    public static void Give(OnnxGraph graph, Value output, ElementType type)
    {
        if (output.Type == type) return;
        var (name, place) = (output.Name, graph.Outputs.IndexOf(output));
        graph.Outputs.RemoveAt(place);
        graph.Rename(output, name + " as made");
        var given = graph.Output(Functions.Cast(output, type), name);
        given.Shape = output.Shape;
        graph.Outputs.Remove(given);
        graph.Outputs.Insert(place, given);
    }

    /// <summary>Gives a half-precision model inputs and outputs of type float, so that whoever feeds it need not know its precision; parameters stay as they are.</summary>
    /// <returns>The same graph.</returns>
    public static OnnxGraph InFloats(OnnxGraph graph)
    {
        foreach (var input in graph.Inputs.Where(i => i is { Type: ElementType.Float16, Data: null }).ToList()) Take(graph, input, ElementType.Float);
        foreach (var output in graph.Outputs.Where(o => o.Type == ElementType.Float16).ToList()) Give(graph, output, ElementType.Float);
        graph.Sort();
        return graph;
    }
}
