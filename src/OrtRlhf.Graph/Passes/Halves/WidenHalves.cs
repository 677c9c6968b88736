namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Lets a half-precision model compute in float: inputs, outputs, weights and all between become float, the weights' values being the
/// halves. A CPU has no
/// half kernels and would convert around every operator; and what flows back through a network loses two digits in halves. Ensures: no half
/// value.
/// </summary>
public static class WidenHalves
{
    /// <summary>Applies the pass; a model without halves stays as it is.</summary>
    public static void Apply(OnnxGraph graph)
    {
        foreach (var value in graph.Values.Values.Where(v => v.Type == ElementType.Float16))
        {
            value.Type = ElementType.Float;
            value.Data = value.Data?.As(ElementType.Float);
        }
        foreach (var node in graph.Nodes)
        {
            foreach (var (name, attribute) in node.Attributes.ToList())
            {
                if (attribute is Tensor { Type: ElementType.Float16 } data) node.Attributes[name] = data.As(ElementType.Float);
                else if (name is "to" or "dtype" && attribute is (long)ElementType.Float16) node.Attributes[name] = (long)ElementType.Float;
            }
        }
    }
}
