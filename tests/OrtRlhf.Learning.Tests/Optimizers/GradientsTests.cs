using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Learning.Tests.Optimizers;

public sealed class GradientsTests
{
    [Fact]
    public void Add_MicroBatches_SumToTheMean()
    {
        var gradients = new Gradients(3);
        gradients.Add([1, 2, 3], 0.5);
        gradients.Add([3, 0, -3], 0.5);
        Assert.Equal([2, 1, 0], gradients.Values.ToArray());
        gradients.Clear();
        Assert.Equal([0, 0, 0], gradients.Values.ToArray());
        Assert.Throws<ArgumentException>(() => gradients.Add([1], 1));
    }

    [Fact]
    public void ClipByGlobalNorm_Above_HasThatNorm()
    {
        var g = Enumerable.Range(0, 10_001).Select(i => MathF.Sin(i)).ToArray();
        var expected = Math.Sqrt(g.Sum(v => (double)v * v));
        Assert.Equal(expected, Gradients.ClipByGlobalNorm(g, 1.5), 1e-5 * expected);
        Assert.Equal(1.5, Gradients.Norm(g), 1e-5);
    }

    [Fact]
    public void ClipByGlobalNorm_Below_ChangesNothing()
    {
        float[] g = [0.3f, -0.4f];
        Assert.Equal(0.5, Gradients.ClipByGlobalNorm(g, 1), 1e-7);
        Assert.Equal([0.3f, -0.4f], g);
        Assert.Equal(0, Gradients.ClipByGlobalNorm(new float[4], 1));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void ClipByGlobalNorm_NotFinite_ThrowsUserError(float bad) =>
        Assert.Throws<UserError>(() => Gradients.ClipByGlobalNorm([1, bad], 1));
}
