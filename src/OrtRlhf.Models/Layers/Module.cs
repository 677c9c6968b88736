using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// A place in a network: where its weights are (the path of names in the checkpoint) and the graph its layers are added to.
/// <c>m["down_blocks"][0]["conv1"].Conv2d(x, 64)</c> reads <c>down_blocks.0.conv1.weight</c> and adds nodes named
/// <c>/down_blocks.0/conv1/...</c>, as PyTorch's exporter names them. Input widths come from the input's shape.
/// </summary>
/// <param name="Graph">The graph.</param>
/// <param name="Weights">The weights.</param>
/// <param name="Path">Names joined by dots; empty for the whole network.</param>
public readonly record struct Module(OnnxGraph Graph, Weights Weights, string Path = "")
{
    /// <summary>A part by name.</summary>
    public Module this[string child] => this with { Path = Path.Length == 0 ? child : $"{Path}.{child}" };

    /// <summary>A part of a list.</summary>
    public Module this[int index] => this[index.ToString()];

    /// <summary>Nodes added until the result is disposed are named after this module.</summary>
    public IDisposable Scope()
    {
        var path = "";
        foreach (var part in Path.Split('.', StringSplitOptions.RemoveEmptyEntries))
            path += (path.Length > 0 && part.All(char.IsAsciiDigit) ? "." : "/") + part;
        return Graph.Scope(path.Length == 0 ? "/" : path);
    }

    /// <summary>
    /// A weight of this module as a value: a parameter if the weights are trainable, otherwise a constant; one value however often it is
    /// asked for.
    /// </summary>
    public Value Parameter(string name, params long[] shape)
    {
        var (full, weights) = (this[name].Path, Weights);
        if (!weights.Trainable) return Constant(full, () => weights.Get(full, shape));
        return Graph.Values.TryGetValue(full, out var known) ? known : Graph.Parameter(full, weights.Get(full, shape));
    }

    /// <summary>y = x W^T + b on the last axis: [..., in] to [..., out], W [out, in]. Trainable ones need a static shape.</summary>
    public Value Linear(Value x, long outputs, bool bias = true)
    {
        using var scope = Scope();
        var inputs = Width(x, -1);
        var b = bias ? Parameter("bias", outputs) : null;
        if (Weights.Trainable)
        {
            // W stays as it is stored, so that its gradient has the checkpoint's layout.
            var w = Parameter("weight", outputs, inputs);
            if (x.Shape!.Rank == 2) return Gemm(x, w, b, transposeB: true);
            return Gemm(x.Reshape(-1, inputs), w, b, transposeB: true).Reshape([.. x.Sizes[..^1], outputs]);
        }
        var (stored, weights) = (this["weight"].Path, Weights);
        var y = MatMul(x, Constant(stored + ".T", () => weights.Get(stored, outputs, inputs).Transposed()));
        return b is null ? y : y + b;
    }

    /// <summary>Convolution [B, in, H, W] to [B, out, H', W'] with a square kernel.</summary>
    /// <param name="x">Input.</param>
    /// <param name="outputs">Output channels.</param>
    /// <param name="kernel">Cells on a side.</param>
    /// <param name="stride">Step in both directions.</param>
    /// <param name="padding">Zeros on all sides, or null for as many as keep the size.</param>
    /// <param name="bias">Whether it has a bias.</param>
    public Value Conv2d(Value x, long outputs, long kernel = 3, long stride = 1, long? padding = null, bool bias = true)
    {
        var p = padding ?? kernel / 2;
        return Conv2d(x, outputs, kernel, stride, [p, p, p, p], bias);
    }

    /// <summary>Convolution with zeros at top, left, bottom, right.</summary>
    public Value Conv2d(Value x, long outputs, long kernel, long stride, long[] pads, bool bias = true)
    {
        using var scope = Scope();
        var weight = Parameter("weight", outputs, Width(x, 1), kernel, kernel);
        return Conv(x, weight, bias ? Parameter("bias", outputs) : null, stride, pads);
    }

    /// <summary>Group normalisation of [B, C, ...].</summary>
    public Value GroupNorm(Value x, long groups, double epsilon)
    {
        using var scope = Scope();
        var channels = Width(x, 1);
        if (groups < 1 || channels % groups != 0)
            throw new UserError($"module '{Path}': expected channels that norm_num_groups divides, got {channels} channels and {groups} "
                + $"groups; check config.json");
        return Functions.GroupNorm(x, Parameter("weight", channels), Parameter("bias", channels), groups, epsilon);
    }

    /// <summary>Layer normalisation of the last axis.</summary>
    public Value LayerNorm(Value x, double epsilon)
    {
        using var scope = Scope();
        var width = Width(x, -1);
        return Functions.LayerNorm(x, Parameter("weight", width), Parameter("bias", width), epsilon);
    }

    /// <summary>
    /// Normalisation of the last axis by its root mean square, without shift: x / sqrt(mean(x^2) + epsilon) * weight. Source: Zhang and
    /// Sennrich, 2019.
    /// </summary>
    public Value RmsNorm(Value x, double epsilon)
    {
        using var scope = Scope();
        var weight = Parameter("weight", Width(x, -1));
        var single = Cast(x, ElementType.Float);
        return Cast(single / Sqrt(Mean(Square(single), [-1], keepDims: true) + epsilon), x.Type) * weight;
    }

    /// <summary>Rows of a table [count, width] by index: [...] to [..., width].</summary>
    public Value Embedding(Value ids, long count, long width)
    {
        using var scope = Scope();
        return Parameter("weight", count, width).Gather(ids);
    }

    // What is kept single is rounded where it is used.
    private Value Constant(string name, Func<Tensor> data)
    {
        var constant = Graph.Values.TryGetValue(name, out var known) ? known : Graph.Constant(data(), name);
        return constant.Type == Weights.Type ? constant : Cast(constant, Weights.Type);
    }

    private long Width(Value x, int axis) => x.Shape is { } s && s[axis].IsKnown
        ? s[axis].Size
        : throw new UserError($"module '{Path}': expected an input of known width at axis {axis}, got {x}");
}
