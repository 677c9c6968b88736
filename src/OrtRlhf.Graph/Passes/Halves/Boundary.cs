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
}
