using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Matrix products.</summary>
internal static class Products
{
    // Y = A B: dA = dY B^T, dB = A^T dY. A shared weight B [K,N] is used as it lies (Gemm with transB), never copied.
    public static IReadOnlyList<Value?> MatMul(NodeGradient g)
    {
        var (a, b, dy) = (g.In(0), g.In(1), g.Dy);
        int ra = a.Shape?.Rank ?? a.Sizes.Length, rb = b.Shape?.Rank ?? b.Sizes.Length;
        if (ra == 1 || rb == 1) return WithVector(g, a, b, dy);
        if (rb > 2) return [g.Needs(0) ? Functions.MatMul(dy, b.T()) : null, g.Needs(1) ? Functions.MatMul(a.T(), dy) : null];
        var rows = ra == 2 ? dy : dy.Reshape(-1, b.Sizes[1]);
        var dA = g.Needs(0) ? Functions.Gemm(rows, b, transposeB: true) : null;
        var dB = g.Needs(1) ? Functions.Gemm(ra == 2 ? a : a.Reshape(-1, b.Sizes[0]), rows, transposeA: true) : null;
        return [dA is null || ra == 2 ? dA : dA.ReshapeLike(a), dB];
    }

    // A vector is a row on the left and a column on the right; the sizes of one that MatMul leaves out come back.
    private static Value?[] WithVector(NodeGradient g, Value a, Value b, Value dy)
    {
        var (row, column) = (a.Sizes.Length == 1, b.Sizes.Length == 1);
        if (column) dy = dy.Unsqueeze(-1);
        if (row) dy = dy.Unsqueeze(-2);
        var dA = g.Needs(0) ? Functions.MatMul(dy, (column ? b.Unsqueeze(-1) : b).T()) : null;
        var dB = g.Needs(1) ? Functions.MatMul((row ? a.Unsqueeze(0) : a).T(), dy) : null;
        return [dA is not null && row ? dA.Squeeze(-2) : dA, dB is not null && column ? dB.Squeeze(-1) : dB];
    }

    // Y = alpha op(A) op(B) + beta C.
    public static IReadOnlyList<Value?> Gemm(NodeGradient g)
    {
        var (a, b, dy) = (g.In(0), g.In(1), g.Dy);
        bool ta = g.Node.Attribute("transA", 0L) != 0, tb = g.Node.Attribute("transB", 0L) != 0;
        double alpha = g.Node.Attribute("alpha", 1f), beta = g.Node.Attribute("beta", 1f);
        var scaled = alpha == 1 ? dy : dy * alpha;
        var dA = !g.Needs(0) ? null : ta
            ? Functions.Gemm(b, scaled, transposeA: tb, transposeB: true)
            : Functions.Gemm(scaled, b, transposeB: !tb);
        var dB = !g.Needs(1) ? null : tb
            ? Functions.Gemm(scaled, a, transposeA: true, transposeB: ta)
            : Functions.Gemm(a, scaled, transposeA: !ta);
        return [dA, dB, g.Needs(2) ? (beta == 1 ? dy : dy * beta) : null];
    }

    // Y = einsum("A,B->Y"): dA = einsum("Y,B->A"), where each letter of A is in Y or B.
    public static IReadOnlyList<Value?> Einsum(NodeGradient g)
    {
        var equation = g.Node.Attribute("equation", "").Replace(" ", "");
        var sides = equation.Split("->");
        var terms = sides[0].Split(',');
        if (sides.Length != 2 || equation.Contains('.') || terms.Any(t => t.Distinct().Count() != t.Length))
            throw new UserError($"{g.Node}: expected an equation with a result and each letter once a term, got '{equation}'");
        var result = new Value?[terms.Length];
        for (var i = 0; i < terms.Length; i++)
        {
            if (!g.Needs(i)) continue;
            var others = Enumerable.Range(0, terms.Length).Where(n => n != i).ToArray();
            string[] given = [sides[1], .. others.Select(n => terms[n])];
            if (terms[i].Any(letter => !given.Any(t =>
                t.Contains(letter)))) throw new UserError($"{g.Node}: '{equation}' sums an axis of one term alone; use ReduceSum for that");
            result[i] = g.Graph.Op("Einsum", [g.Dy, .. others.Select(g.In)], ("equation", $"{string.Join(',', given)}->{terms[i]}"));
        }
        return result;
    }
}
