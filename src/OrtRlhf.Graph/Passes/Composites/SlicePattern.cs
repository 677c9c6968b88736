using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Slices that together are all of a value, as exporters write chunks: one Split, whose gradient is one Concat rather than a sum of parts
/// that are each filled
/// up with zeros.
/// </summary>
internal static class SlicePattern
{
    /// <summary>Applies it to a whole graph, and gives the number of Splits made.</summary>
    public static int Apply(OnnxGraph graph)
    {
        var readers = graph.Readers();
        var groups = new Dictionary<Node, (SliceRange Range, Node[] Parts)>();
        foreach (var slices in graph.Nodes.Where(n => n is { Op: "Slice", Domain.Length: 0 } && n.Inputs[0]!.Producer is not null)
            .GroupBy(n => n.Inputs[0]!))
        {
            foreach (var parts in slices.Select(n => (Node: n, Range: InferShapes.Checked(n, () => Along(n)))).Where(p =>
                p.Range is not null).GroupBy(p => p.Range!.Value.Axis))
            {
                var ordered = parts.OrderBy(p => p.Range!.Value.Start).ToArray();
                if (ordered.Length > 1 && Whole([.. ordered.Select(p => p.Range!.Value)], slices.Key.Sizes[parts.Key]))
                    groups[parts.First().Node] = (ordered[0].Range!.Value, [.. ordered.Select(p => p.Node)]);
            }
        }
        if (groups.Count == 0) return 0;
        var taken = groups.Values.SelectMany(g => g.Parts).ToHashSet();
        graph.Rewrite(node =>
        {
            if (!taken.Contains(node)) return false;
            if (!groups.TryGetValue(node, out var group)) return true;
            var axis = group.Range.Axis;
            using var scope = graph.Scope(node.Name.LastIndexOf('/') is > 0 and var end ? node.Name[..end] : "/");
            var parts = node.Inputs[0]!.Split(axis, [.. group.Parts.Select(p => p.Output.Sizes[axis])]);
            for (var i = 0; i < parts.Length; i++) graph.Redirect(group.Parts[i].Output, parts[i], readers);
            return true;
        });
        return groups.Count;
    }

    /// <summary>The one axis that a slice of step one is taken along, in numbers of that axis; null where it is another kind.</summary>
    private static SliceRange? Along(Node node) => node.Inputs[0]!.Shape is { IsStatic: true } shape
        && node.Output.Shape is { IsStatic: true } && SliceRange.Of(node) is [{ Step: 1 } range]
        ? range with { Start = range.From(shape.Sizes[range.Axis]), End = range.To(shape.Sizes[range.Axis]) } : null;

    private static bool Whole(SliceRange[] ranges, long size) => ranges[0].Start == 0 && ranges[^1].End == size
        && ranges.All(r => r.End > r.Start) && ranges.Zip(ranges.Skip(1)).All(p => p.First.End == p.Second.Start);
}
