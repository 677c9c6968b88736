using System.Runtime.InteropServices;
using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Takes 3x3 convolutions of an image that was doubled by repeating cells at the image's own size: of the nine cells that an output cell
/// sees, a 2x2 block's
/// worth differs, so that for each place within a doubled cell a 2x2 kernel of sums does, 4/9 of the arithmetic. Requires: adapters
/// injected and gradients
/// added already (layers lose their names and weights). Ensures: the same outputs within rounding.
/// </summary>
public static class SplitUpsampling
{
    /// <summary>Applies the pass.</summary>
    /// <returns>How many convolutions were split.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var (readers, count) = (graph.Readers(), 0);
        graph.Rewrite(node =>
        {
            if (!Fits(node)) return false;
            using var scope = graph.Scope(node.Name.TrimStart('/'));
            var (x, weight) = (node.Inputs[0]!.Producer!.Inputs[0]!, node.Inputs[1]!.Data!);
            Value[] parts = [.. from row in (int[])[0, 1] from column in (int[])[0, 1] select Functions.Conv(x,
                graph.Constant(Sums(weight, row, column)), node.Input(2), 1, [1 - row, 1 - column, row, column])];
            var y = graph.Op("DepthToSpace", [Layout.Concat(1, parts)], ("blocksize", 2L), ("mode", "DCR"));
            y.Shape = node.Output.Shape; // known where sizes are open, too
            graph.Redirect(node.Output, y, readers);
            count++;
            return true;
        });
        graph.RemoveUnused();
        return count;
    }

    private static bool Fits(Node node) =>
        node is { Op: "Conv", Domain.Length: 0 }
            && node.Inputs[1] is { IsConstant: true, Type: ElementType.Float, Data.Dims: [_, _, 3, 3] } && node.Attribute("group", 1L) == 1
        && Are(node, "strides", [1, 1]) && Are(node, "dilations", [1, 1]) && Are(node, "pads", [1, 1, 1, 1])
        && Patterns.Made(node.Inputs[0], "Resize") is { } resize && resize.Attribute("mode", "nearest") == "nearest"
            && resize.Attribute("nearest_mode", "") == "floor"
        && resize.Attribute("coordinate_transformation_mode", "") == "asymmetric" && resize.Input(3) is null
        && resize.Input(2) is { IsConstant: true, Data: { } scales } && scales.ToFloats().AsSpan().SequenceEqual([1, 1, 2, 2]);

    private static bool Are(Node node, string name, long[] values) =>
        node.Attributes.GetValueOrDefault(name) is long[] given && given.SequenceEqual(values);

    /// <summary>
    /// The 2x2 kernel of the output cells at a row and column of each doubled cell: kernel rows that fall on one input row are added,
    /// columns likewise.
    /// </summary>
    private static Tensor Sums(Tensor weight, int row, int column) => new(ElementType.Float, [weight.Dims[0], weight.Dims[1], 2, 2], () =>
    {
        var source = weight.ToFloats();
        var sums = new float[source.Length / 9 * 4];
        for (var i = 0; i < source.Length; i++)
        {
            var (kernel, u, v) = (i / 9, i % 9 / 3, i % 3);
            sums[(kernel * 4) + ((u + 1 - row) / 2 * 2) + ((v + 1 - column) / 2)] += source[i];
        }
        return MemoryMarshal.AsBytes(sums.AsSpan()).ToArray();
    });
}
