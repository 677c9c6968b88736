using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>
/// Muon (Jordan et al., 2024) for weights that are matrices, a convolution's kernel [out, in, h, w] being [out, in*h*w]. The step is the
/// momentum
/// with all its singular values made about 1 by five Newton-Schulz iterations, <c>X = 3.4445 X - 4.775 (X X^T) X + 2.0315 (X X^T)^2 X</c>,
/// so that
/// directions with weak gradients learn as fast as those with strong ones. Scaled by <c>0.2 sqrt(max(rows, columns))</c> (Liu et al., 2025)
/// its
/// elements are as large as AdamW's.
/// </summary>
internal static class Muon
{
    public const double Momentum = 0.95;
    public const string Suffix = "_step";

    private static readonly string[] NotHidden = ["embedding", "conv_in", "conv_out", "heads.", "pos_embed", "transformer.proj_out"];

    /// <summary>Whether a parameter is one for Muon: a matrix between two hidden layers.</summary>
    public static bool Takes(string name, long[] shape) =>
        shape.Length >= 2 && !NotHidden.Any(part => name.Contains(part, StringComparison.Ordinal));

    /// <summary>A session that makes a step of every momentum.</summary>
    public static GraphSession Session(IReadOnlyList<(string Name, long[] Shape)> matrices)
    {
        var graph = new OnnxGraph("muon");
        foreach (var (name, shape) in matrices)
            graph.Output(Orthogonalized(graph.Input(name, ElementType.Float, [.. shape.Select(d => (Dim)d)]), shape), name + Suffix);
        return new GraphSession(graph, new SessionSettings { Threads = 1 });
    }

    private static Value Orthogonalized(Value x, long[] shape)
    {
        var (rows, columns) = (shape[0], shape.Skip(1).Aggregate(1L, (a, b) => a * b));
        var tall = rows > columns;
        var identity = x.Graph.Constant(Identity(Math.Min(rows, columns)));
        x = x.Reshape(rows, columns);
        if (tall) x = x.Transpose(1, 0);
        x /= Sqrt(Sum(Square(x)) + 1e-14);
        // All iterates are Q X with Q a polynomial of X X^T, which is far smaller than X where there are more columns than rows.
        var gram = MatMul(x, x.Transpose(1, 0));
        Value? q = null;
        for (var i = 0; i < 5; i++)
        {
            var p = (gram * -4.775) + (MatMul(gram, gram) * 2.0315) + (identity * 3.4445);
            if (i < 4) gram = MatMul(p, MatMul(gram, p));
            q = q is null ? p : MatMul(p, q);
        }
        x = MatMul(q!, x);
        x *= 0.2 * Math.Sqrt(Math.Max(rows, columns));
        return (tall ? x.Transpose(1, 0) : x).Reshape(shape);
    }

    private static Tensor Identity(long size)
    {
        var values = new float[size * size];
        for (var i = 0; i < size; i++) values[i * (size + 1)] = 1;
        return Tensor.Of(values, size, size);
    }
}
