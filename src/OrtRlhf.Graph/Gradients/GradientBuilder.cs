using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// Reverse-mode differentiation: adds to a graph the nodes that compute the gradient of a scalar loss. The result is plain ONNX
/// and runs on any ONNX Runtime. Shapes must be static where broadcasting or layout is undone.
/// </summary>
public static class GradientBuilder
{
    /// <summary>Adds the gradients of <paramref name="loss"/> to its graph.</summary>
    /// <param name="loss">A scalar, or one element.</param>
    /// <param name="parameters">Values to differentiate by.</param>
    /// <param name="options">What to prefer; null for the defaults.</param>
    /// <returns>The gradient of each parameter, of the parameter's shape; zeros where the loss does not depend on it.</returns>
    /// <exception cref="UserError">An operator on the way has no rule, must not be differentiated, or shapes are not static.</exception>
    public static IReadOnlyDictionary<Value, Value> Add(Value loss, IReadOnlyCollection<Value> parameters, GradientOptions? options = null)
    {
        options ??= new GradientOptions();
        if (loss.Shape is not { IsStatic: true } shape || shape.Count != 1)
            throw new UserError($"gradient of '{loss.Name}': expected a scalar loss, got shape {loss.Shape?.ToString() ?? "none"}");
        var graph = loss.Graph;
        var active = Active(graph, parameters);
        var gradients = new Dictionary<Value, List<Value>> { [loss] = [graph.Scalar(loss.Type, 1).Expand(loss.Sizes)] };

        var forward = graph.Nodes.ToArray();
        for (var i = forward.Length - 1; i >= 0; i--)
        {
            var node = forward[i];
            if (!node.Inputs.Any(v => v is not null && active.Contains(v))) continue;
            var upstream = node.Outputs.Select(o => o is null ? null : Total(o)).ToArray();
            if (upstream.All(u => u is null)) continue;

            var g = new NodeGradient(node, upstream, active.Contains, options);
            IReadOnlyList<Value?> results;
            using (graph.Scope("gradient")) results = node.Domain == OnnxGraph.CompositeDomain ? Composite.Of(node).Gradient(g)
                : GradientRules.Of(node)(g);
            for (var n = 0; n < results.Count; n++)
            {
                if (results[n] is not { } result || node.Input(n) is not { } input || !active.Contains(input)) continue;
                if (!gradients.TryGetValue(input, out var terms)) gradients[input] = terms = [];
                terms.Add(Unbroadcast(result, input));
            }
        }
        return parameters.ToDictionary(p => p, p => Total(p) ?? graph.Scalar(p.Type, 0).Expand(p.Sizes));

        Value? Total(Value value)
        {
            if (!gradients.TryGetValue(value, out var terms)) return null;
            if (terms.Count > 1)
            {
                using var scope = graph.Scope("gradient");
                var sum = terms.Count == 2 ? terms[0] + terms[1] : graph.Op("Sum", [.. terms]);
                terms.Clear();
                terms.Add(sum);
            }
            return terms[0];
        }
    }

    /// <summary>The values that depend on a parameter and through which a gradient can flow.</summary>
    private static HashSet<Value> Active(OnnxGraph graph, IReadOnlyCollection<Value> parameters)
    {
        var active = new HashSet<Value>(parameters);
        foreach (var node in graph.Nodes)
        {
            if (!node.Inputs.Any(i => i is not null && active.Contains(i)) || GradientRules.StopsAt(node)) continue;
            foreach (var output in node.Outputs)
                if (output is not null && (output.Type == ElementType.Undefined || output.Type.IsFloating())) active.Add(output);
        }
        return active;
    }

    /// <summary>Sums a gradient over the axes along which its value was broadcast.</summary>
    private static Value Unbroadcast(Value gradient, Value value)
    {
        if (gradient.Shape is not null && value.Shape is not null && gradient.Shape.Equals(value.Shape)) return gradient;
        long[] from = gradient.Sizes, to = value.Sizes;
        if (from.AsSpan().SequenceEqual(to)) return gradient;
        var extra = from.Length - to.Length;
        var axes = Enumerable.Range(0, from.Length).Where(i => i < extra || (to[i - extra] == 1 && from[i] != 1)).Select(i => (long)i)
            .ToArray();
        if (extra < 0 || axes.Length == 0)
        {
            // The other way: a rule may give a gradient that still has to be spread.
            return gradient.Expand(to);
        }
        var sum = Sum(gradient, axes, keepDims: extra == 0);
        return sum.Sizes.AsSpan().SequenceEqual(to) ? sum : sum.Reshape(to);
    }
}
