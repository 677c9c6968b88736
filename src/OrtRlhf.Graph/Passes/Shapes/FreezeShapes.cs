namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Gives symbolic dimensions numbers, as a training graph needs them. Requires: nodes in topological order. Ensures: no input has one of
/// those symbols,
/// and shapes are inferred anew; <see cref="FoldConstants"/> afterwards makes the others static.
/// </summary>
public static class FreezeShapes
{
    /// <summary>Applies the pass.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="sizes">Number of each symbol, such as <c>("batch", 4)</c>; symbols that are not named stay.</param>
    /// <exception cref="UserError">The model has no such symbol (names those it has), or a size is not positive.</exception>
    public static void Apply(OnnxGraph graph, params IEnumerable<(string Symbol, long Size)> sizes)
    {
        var numbers = sizes.ToDictionary(s => s.Symbol, s => s.Size, StringComparer.Ordinal);
        var symbols = Symbols(graph);
        foreach (var (symbol, size) in numbers)
        {
            if (size < 1) throw new UserError($"dimension '{symbol}' of model '{graph.Name}': expected at least 1, got {size}");
            if (!symbols.Contains(symbol)) throw new UserError($"dimension '{symbol}': model '{graph.Name}' has none of that name; its "
                + $"free dimensions are {(symbols.Count == 0 ? "none" : string.Join(", ", symbols))}");
        }
        foreach (var input in graph.Inputs.Where(i => i.Shape is not null))
            input.Shape = new Shape(input.Shape!.Dims.ToArray().Select(d =>
                d.Symbol is { } s && numbers.TryGetValue(s, out var size) ? size : d));
        InferShapes.Apply(graph);
    }

    /// <summary>Freezes whole inputs: each symbol takes the number at its place.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="shapes">Sizes of inputs by name.</param>
    /// <exception cref="UserError">There is no such input, a size contradicts the model, or a symbol would get two numbers.</exception>
    public static void Apply(OnnxGraph graph, IReadOnlyDictionary<string, long[]> shapes)
    {
        var numbers = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (name, sizes) in shapes)
        {
            var input = graph[name];
            if (input.Shape is not { } shape
                || shape.Rank != sizes.Length) throw new UserError($"input '{name}' of model '{graph.Name}': expected shape "
                + $"{input.Shape?.ToString() ?? "of unknown rank"}, got [{string.Join(",", sizes)}]");
            for (var i = 0; i < sizes.Length; i++)
            {
                if (shape[i].Symbol is { } symbol ? !numbers.TryAdd(symbol, sizes[i]) && numbers[symbol] != sizes[i]
                    : shape[i].Size != sizes[i])
                    throw new UserError($"input '{name}' of model '{graph.Name}': axis {i} of {shape} cannot be "
                        + $"{sizes[i]}{(shape[i].Symbol is { } s ? $", '{s}' is {numbers[s]} elsewhere" : "")}");
            }
        }
        Apply(graph, numbers.Select(n => (n.Key, n.Value)));
    }

    /// <summary>The symbols in the shapes of a graph's inputs.</summary>
    public static IReadOnlyList<string> Symbols(OnnxGraph graph) =>
        [.. graph.Inputs.Where(i => i.Shape is not null).SelectMany(i => i.Shape!.Dims.ToArray()).Select(d => d.Symbol).OfType<string>()
            .Distinct()];
}
