using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Convolutions of [B, C, H, W].</summary>
internal static class Convolution
{
    // Y = W * X + b: dX = W^T * dY (flipped), dW = sum over places of dY x X^T, db = sum dY.
    public static IReadOnlyList<Value?> Conv(NodeGradient g)
    {
        var (x, w) = (g.In(0), g.In(1));
        if (x.Shape!.Rank != 4) throw new UserError($"{g.Node}: expected [B,C,H,W], got {x.Shape}");
        var window = Window.Of(g.Node, 2, w.Shape!);
        var group = g.Node.Attribute("group", 1L);
        var dX = g.Needs(0) ? InputGradient(g, x, w, window, group) : null;
        var dW = g.Needs(1) ? WeightGradient(g, x, w, g.Dy, window, group) : null;
        return g.Node.Inputs.Count > 2 ? [dX, dW, g.Needs(2) ? Sum(g.Dy, [0, 2, 3]) : null] : [dX, dW];
    }

    // Y = W^T * X: dX = W * dY, and dW with the parts of X and dY exchanged.
    public static IReadOnlyList<Value?> ConvTranspose(NodeGradient g)
    {
        var (x, w) = (g.In(0), g.In(1));
        var window = Window.Of(g.Node, 2, w.Shape!);
        var group = g.Node.Attribute("group", 1L);
        var dX = g.Needs(0) ? g.Graph.Op("Conv", [g.Dy, w], [.. Attributes(window, group)]) : null;
        var dW = g.Needs(1) ? WeightGradient(g, g.Dy, w, x, window, group) : null;
        return g.Node.Inputs.Count > 2 ? [dX, dW, g.Needs(2) ? Sum(g.Dy, [0, 2, 3]) : null] : [dX, dW];
    }

    /// <summary>
    /// For stride 1 a convolution with the flipped, transposed weight, which runs faster than ConvTranspose; else ConvTranspose.
    /// </summary>
    private static Value InputGradient(NodeGradient g, Value x, Value w, Window window, long group)
    {
        var (graph, dy) = (g.Graph, g.Dy);
        if (!g.Options.SharedWeights && group == 1 && window.Strides.All(s => s == 1) && window.Dilations.All(d => d == 1))
        {
            long[] pads = [.. Enumerable.Range(0, 2).Select(i => window.Kernel[i] - 1 - window.Before[i]),
                .. Enumerable.Range(0, 2).Select(i => window.Kernel[i] - 1 - window.After[i])];
            if (pads.All(p => p >= 0)) return Functions.Conv(dy, Flipped(w), null, 1, pads);
        }
        var sizes = x.Sizes;
        long[] extra = [.. Enumerable.Range(0, 2).Select(i =>
            sizes[2 + i] - ((window.Strides[i] * (dy.Sizes[2 + i] - 1)) + window.Reach(i) - window.Before[i] - window.After[i]))];
        return graph.Op("ConvTranspose", [dy, w], [.. Attributes(window, group), ("output_padding", extra)]);
    }

    private static IEnumerable<(string, object)> Attributes(Window window, long group) =>
    [
        ("kernel_shape", window.Kernel), ("strides", window.Strides), ("dilations", window.Dilations),
        ("pads", window.Before.Concat(window.After).ToArray()), ("group", group),
    ];

    /// <summary>A weight [O, I, h, w] as [I, O, h, w] turned by 180 degrees: data for a constant, nodes for a parameter.</summary>
    private static Value Flipped(Value w)
    {
        if (HalfWeight.Of(w) is { } half) return Cast(Flipped(half), w.Type);
        if (!w.IsConstant)
        {
            var swapped = w.Transpose(1, 0, 2, 3);
            return w.Sizes[2] == 1 && w.Sizes[3] == 1 ? swapped
                : swapped.Slice([2, 3], [-1, -1], [long.MinValue / 2, long.MinValue / 2], [-1, -1]);
        }
        var data = w.Data!;
        var (o, i, k) = ((int)data.Dims[0], (int)data.Dims[1], (int)(data.Dims[2] * data.Dims[3]));
        var name = w.Name + "/flipped";
        return w.Graph.Values.TryGetValue(name, out var known) ? known : w.Graph.Constant(
            new Tensor(data.Type, [i, o, data.Dims[2], data.Dims[3]], () => Flip(data, o, i, k)), name);
    }

    private static byte[] Flip(Tensor data, int o, int i, int k)
    {
        var source = data.Bytes();
        var target = new byte[source.Length];
        var size = data.Type.SizeOf();
        for (var a = 0; a < o; a++)
            for (var b = 0; b < i; b++)
                for (var c = 0; c < k; c++)
                    source.AsSpan((((a * i) + b) * k + c) * size, size)
                        .CopyTo(target.AsSpan((((b * o) + a) * k + (k - 1 - c)) * size, size));
        return target;
    }

    /// <summary>
    /// dW [O, I, kh, kw]: for each place of the kernel one product of dY [O, B*H*W] with the input [I, B*H*W] shifted to that place. With
    /// stride 1 the
    /// rows of dY are filled up with zeros to the padded input's width, so that a shift is one stretch of memory.
    /// </summary>
    private static Value WeightGradient(NodeGradient g, Value x, Value w, Value dy, Window window, long group)
    {
        if (group != 1) throw new UserError(
            $"{g.Node}: the weight of a grouped convolution ({group} groups) cannot be tuned; leave it out of the LoRA targets");
        var (sx, sy) = (x.Sizes, dy.Sizes);
        long batch = sx[0], inputs = sx[1], outputs = sy[1], kh = window.Kernel[0], kw = window.Kernel[1];
        var dense = window.Strides.All(s => s == 1);
        var width = sx[3] + window.Before[1] + window.After[1];
        var columns = dense ? width : sy[3];
        // One row more below, for the last shifts reach beyond the last row.
        var padded = x.Transpose(1, 0, 2, 3)
            .Pad([0, 0, .. window.Before], [0, 0, window.After[0] + (dense && width > sy[3] ? 1 : 0), window.After[1]]);
        var rows = dy.Transpose(1, 0, 2, 3).Pad([0, 0, 0, 0], [0, 0, 0, columns - sy[3]]).Reshape(outputs, batch * sy[2] * columns);
        var flat = dense ? padded.Reshape(inputs, batch, -1) : padded;
        var products = new List<Value>();
        for (var i = 0; i < kh; i++)
        {
            for (var j = 0; j < kw; j++)
            {
                var (top, left) = (i * window.Dilations[0], j * window.Dilations[1]);
                var shifted = !dense
                    ? flat.Slice([2, 3], [top, left],
                        [top + ((sy[2] - 1) * window.Strides[0]) + 1, left + ((sy[3] - 1) * window.Strides[1]) + 1], window.Strides)
                    : flat.Sizes[2] == sy[2] * width ? flat
                    : flat.Slice(2, (top * width) + left, (top * width) + left + (sy[2] * width));
                products.Add(Gemm(rows, shifted.Reshape(inputs, batch * sy[2] * columns), transposeB: true));
            }
        }
        return products.Count == 1
            ? products[0].Reshape(outputs, inputs, 1, 1)
            : Layout.Concat(0, [.. products]).Reshape(kh * kw, outputs, inputs).Transpose(1, 2, 0).Reshape(outputs, inputs, kh, kw);
    }
}
