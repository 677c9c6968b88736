using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Gives a half-precision model inputs and outputs of type float, cast at the border, so that whoever feeds it need not know its precision. Ensures: the same names
/// and shapes, no half input or output; parameters stay as they are. A model without half inputs and outputs stays as it is.
/// </summary>
public static class FloatBorders
{
    /// <summary>Applies the pass.</summary>
    /// <returns>The same graph.</returns>
    public static OnnxGraph Apply(OnnxGraph graph)
    {
        foreach (var input in graph.Inputs.Where(i => i is { Type: ElementType.Float16, Data: null }).ToList())
        {
            var (name, place) = (input.Name, graph.Inputs.IndexOf(input));
            graph.Rename(input, name + " in halves");
            graph.Inputs.RemoveAt(place);
            var given = graph.Input(name, ElementType.Float, [.. input.Shape!.Dims]);
            graph.Inputs.Remove(given);
            graph.Inputs.Insert(place, given);
            graph.Redirect(input, Functions.Cast(given, ElementType.Float16));
        }
        Value[] outputs = [.. graph.Outputs];
        graph.Outputs.Clear();
        foreach (var output in outputs)
        {
            if (output.Type != ElementType.Float16)
            {
                graph.Outputs.Add(output);
                continue;
            }
            var name = output.Name;
            graph.Rename(output, name + " in halves");
            var cast = Functions.Cast(output, ElementType.Float);
            cast.Shape ??= output.Shape;
            graph.Output(cast, name);
        }
        graph.Sort();
        return graph;
    }
}
