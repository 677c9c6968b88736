namespace OrtRlhf.Graph.Tests.Gradients.Cases;

/// <summary>
/// The finite-difference cases: expressions over parameters, named by the operator whose rule they test and what is special about them.
/// </summary>
internal static partial class RuleCases
{
    /// <summary>Expressions by name.</summary>
    public static readonly Dictionary<string, Func<OnnxGraph, Value>> Table = new Dictionary<string, Func<OnnxGraph, Value>>[]
    {
        Elementwise(), Products(), Convolutions(), Normalisations(), Reductions(), Layouts(), Resamplings(), Composites(),
    }.SelectMany(t => t).ToDictionary(t => t.Key, t => t.Value);

    /// <summary>The operator that a case tests.</summary>
    public static string OperatorOf(string name) => name.Split(' ', ',')[0];

    /// <summary>A parameter of normal numbers.</summary>
    private static Value P(OnnxGraph g, params long[] dims) => g.Parameter($"p{g.Inputs.Count}", Numbers.Normal(10 + g.Inputs.Count, dims));

    /// <summary>A parameter of numbers from 0.5 up.</summary>
    private static Value Positive(OnnxGraph g, params long[] dims) =>
        g.Parameter($"p{g.Inputs.Count}",
            Tensor.Of([.. Numbers.Normal(10 + g.Inputs.Count, dims).ToFloats().Select(v => 0.5f + Math.Abs(v))], dims));

    /// <summary>
    /// A parameter of numbers that are 0.2 apart from each other, from zero and from those of the next parameter, in random order.
    /// </summary>
    private static Value Spaced(OnnxGraph g, params long[] dims)
    {
        var values = new float[dims.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++) values[i] = (0.2f * (i - (values.Length / 2))) + (g.Inputs.Count % 2 == 0 ? 0.15f : 0.05f);
        new Random(g.Inputs.Count).Shuffle(values);
        return g.Parameter($"p{g.Inputs.Count}", Tensor.Of(values, dims));
    }

    private static Value C(OnnxGraph g, params long[] dims) => g.Constant(Numbers.Normal(50, dims));

    private static Value I(OnnxGraph g, params long[] values) => g.Constant(Tensor.Vector(values));

    /// <summary>The same expression in another operator set.</summary>
    private static Func<OnnxGraph, Value> Opset(int opset, Func<OnnxGraph, Value> build) => g =>
    {
        g.Opset = opset;
        return build(g);
    };
}
