using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// With classifier-free guidance the two halves of a batch have the same latents and times, and differ in the text alone: what is computed
/// before a network looks
/// at the text (of a U-Net its first convolutions and its first self-attention) is computed once and joined where the text comes in.
/// Requires: batches whose second half repeats the first in the given inputs; shapes inferred. Ensures: the same outputs within rounding.
/// Source of guidance: Ho and
/// Salimans, 2022.
/// </summary>
public static class ShareGuided
{
    private static readonly string[] Pairwise = ["Add", "Div", "Mul", "Pow", "Sub"];

    // ONNX's operators that keep the rows of a batch apart, where axis 0 is the batch before and after, as all composites do. Others read
    // whole batches.
    private static readonly HashSet<string> ByRow =
    [
        "Cast", "Concat", "Conv", "Cos", "Erf", "Exp", "Gelu", "Gemm", "Identity", "MatMul", "Reshape", "Resize", "Sigmoid", "Sin",
            "Softmax", "Sqrt", "Tanh", "Transpose", "Unsqueeze", .. Pairwise,
    ];

    /// <summary>Applies the pass.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="inputs">Names of the inputs whose halves are the same, such as <c>sample</c> and <c>timestep</c>, axis 0 the batch. One
    /// of an odd number of rows is let be.</param>
    /// <returns>How many nodes run on half a batch now.</returns>
    public static int Apply(OnnxGraph graph, params IReadOnlyList<string> inputs)
    {
        var halves = new Dictionary<Value, Shape>(); // what is computed on half a batch, with its whole shape
        foreach (var input in graph.Inputs.Where(i => inputs.Contains(i.Name) && i.Shape is { Rank: > 0 } shape
            && (!shape[0].IsKnown || shape[0].Size % 2 == 0))) halves[input] = input.Shape!;
        HashSet<Dim> batches = [.. halves.Values.Select(shape => shape[0])];
        var shared = new HashSet<Node>();
        foreach (var node in graph.Nodes)
        {
            if (!IsShared(node)) continue;
            shared.Add(node);
            foreach (var output in node.Outputs.OfType<Value>()) halves[output] = output.Shape ?? Shape.Scalar;
        }
        // The inputs themselves in halves, then all else in order; a node behind reads what is joined again.
        var (first, joined) = (new Dictionary<Value, Value>(), new Dictionary<Value, Value>());
        graph.Rewrite(node =>
        {
            node.Substitute(value =>
                !halves.ContainsKey(value) ? value : !shared.Contains(node) ? Joined(value) : value.IsInput ? First(value) : value);
            if (shared.Contains(node)) Shrink(node);
            return false;
        });
        graph.RemoveUnused();
        return shared.Count;

        bool IsShared(Node node) => (node.Domain.Length == 0 ? ByRow.Contains(node.Op) : node.Domain == OnnxGraph.CompositeDomain)
            && node.Captured.Count == 0 && IsBatch(node.Output.Shape) && !node.Outputs.Any(o => o is not null && graph.Outputs.Contains(o))
            && node.Reads.Any(halves.ContainsKey) && node.Reads.All(value => halves.ContainsKey(value) || value.Data is not null)
                && node.Op switch
                {
                    _ when node.Domain.Length > 0 => !node.Inputs.Any(value => PerRow(node, value)),
                    "Transpose" => node.Attribute("perm", Array.Empty<long>()) is [0, ..],
                    "Concat" => node.Output.Shape!.Axis(node.Attribute("axis", 0L)) > 0 && !node.Inputs.Any(value => PerRow(node, value)),
                    "Softmax" => node.Output.Shape!.Axis(node.Attribute("axis", -1L)) > 0,
                    "Conv" => !halves.ContainsKey(node.Inputs[1]!),
                    "Unsqueeze" => node.Input(1) is { IsConstant: true, Data: { } axes } && axes.ToInt64s().All(axis => axis > 0),
                    "Gemm" => node.Attribute("transA", 0L) == 0 && halves.ContainsKey(node.Inputs[0]!) && !halves.ContainsKey(node.Inputs[1]!)
                        && !PerRow(node, node.Input(2)),
                    "MatMul" => node.Inputs.All(value => value!.Data is not { Dims.Length: > 2 })
                        && (node.Output.Shape!.Rank > 2 || !halves.ContainsKey(node.Inputs[1]!)),
                    "Reshape" => node.Input(1) is { IsConstant: true },
                    "Resize" => node.Input(3) is null, // sizes tell the batch's, too
                    _ => !Pairwise.Contains(node.Op) || !node.Inputs.Any(value => PerRow(node, value)),
                };

        // Whether a constant has a row for each of the batch's.
        static bool PerRow(Node node, Value? value) => value?.Data is { } constant && constant.Dims.Length == node.Output.Shape!.Rank
            && constant.Dims.Length > 0 && constant.Dims[0] != 1;

        bool IsBatch(Shape? shape) => shape is { Rank: > 0 } && batches.Contains(shape[0]);

        Value First(Value input)
        {
            if (first.TryGetValue(input, out var half)) return half;
            var (shape, rows) = (input.Shape!, Half(input.Shape![0]));
            half = rows.IsKnown ? input.Slice(0, 0, rows.Size) : graph.Op("Split", "", 2, [input],
                [("axis", 0L), .. graph.Opset >= 18 ? [("num_outputs", 2L)] : Array.Empty<(string, object)>()])[0];
            (half.Type, half.Shape) = (input.Type, shape.With(0, rows));
            return first[input] = half;
        }

        Value Joined(Value value)
        {
            if (value.IsInput) return value;
            if (joined.TryGetValue(value, out var whole)) return whole;
            whole = Layout.Concat(0, value, value);
            whole.Shape = halves[value];
            return joined[value] = whole;
        }

        void Shrink(Node node)
        {
            if (node.Op == "Reshape" && node.Inputs[1]!.Data!.ToInt64s() is [var rows and > 0, .. var rest]
                && batches.Contains(rows)) node.Inputs[1] = graph.Constant(Tensor.Vector([rows / 2, .. rest]));
            OperatorShapes.Infer(node);
            node.Output.Shape = halves[node.Output].With(0, Half(halves[node.Output][0]));
        }
    }

    private static Dim Half(Dim batch) => batch.IsKnown ? batch.Size / 2 : $"half of {batch.Symbol}";
}
