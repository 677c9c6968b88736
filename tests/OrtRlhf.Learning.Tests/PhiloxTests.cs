namespace OrtRlhf.Learning.Tests;

public sealed class PhiloxTests
{
    // Known answers published with Random123 (kat_vectors, philox4x32 10).
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u,
        0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u,
        0x24126ea1u)]
    public void Block_KnownAnswers(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint r0, uint r1, uint r2, uint r3) =>
        Assert.Equal((r0, r1, r2, r3), Philox.Block((k0, k1), c0, c1, c2, c3));

    [Fact]
    public void FillGaussian_MomentsAndTails()
    {
        const int n = 1 << 20;
        var z = new float[n];
        new Philox(7, 1, 2, 3).FillGaussian(z);
        double Moment(int power) => z.Average(v => Math.Pow(v, power));
        // Five standard errors of each moment.
        Assert.Equal(0, Moment(1), 5 * Math.Sqrt(1.0 / n));
        Assert.Equal(1, Moment(2), 5 * Math.Sqrt(2.0 / n));
        Assert.Equal(0, Moment(3), 5 * Math.Sqrt(15.0 / n));
        Assert.Equal(3, Moment(4), 5 * Math.Sqrt(96.0 / n));
        Assert.Equal(0.0455, z.Count(v => Math.Abs(v) > 2) / (double)n, 0.002);
        Assert.InRange(z.Max(), 4, 6.8);
        Assert.Equal(0, Enumerable.Range(0, n - 1).Average(i => z[i] * z[i + 1]), 5 * Math.Sqrt(1.0 / n));
    }

    [Fact]
    public void FillUniform_MomentsAndRange()
    {
        const int n = 1 << 20;
        var u = new float[n];
        new Philox(7, 1, 2, 3).FillUniform(u);
        Assert.All(u, v => Assert.InRange(v, 0, 0.99999995f));
        Assert.Equal(0.5, u.Average(v => (double)v), 5 * Math.Sqrt(1 / 12.0 / n));
        Assert.Equal(1 / 3.0, u.Average(v => (double)v * v), 0.002);
    }

    [Fact]
    public void Fill_AllLengths_AreBeginningsOfTheLongest()
    {
        var (gaussian, uniform) = (new float[600], new float[600]);
        var philox = new Philox(1, 2, 3, 4);
        philox.FillGaussian(gaussian);
        philox.FillUniform(uniform);
        for (var length = 0; length <= 600; length++)
        {
            var part = new float[length];
            philox.FillGaussian(part);
            Assert.Equal(gaussian[..length], part);
            philox.FillUniform(part);
            Assert.Equal(uniform[..length], part);
        }
    }

    [Fact]
    public void FillGaussian_OtherKeys_AreIndependent()
    {
        const int n = 1 << 16;
        var all = new[] { new Philox(1, 1, 1, 1), new(2, 1, 1, 1), new(1UL << 32 | 1, 1, 1, 1), new(1, 2, 1, 1), new(1, 1, 2, 1),
            new(1, 1, 1, 2), new(1, 1, 1, RandomStep.InitialLatent) }
            .Select(key =>
            {
                var z = new float[n];
                key.FillGaussian(z);
                return z;
            }).ToArray();
        for (var a = 0; a < all.Length; a++)
            for (var b = 0; b < a; b++)
                Assert.Equal(0, all[a].Zip(all[b], (x, y) => (double)x * y).Average(), 5 * Math.Sqrt(1.0 / n));
    }

    [Fact]
    public void Below_EveryValueEquallyOften()
    {
        var counts = new int[7];
        for (uint i = 0; i < 70_000; i++)
            counts[new Philox(3, 0, 0, RandomStep.Prompts).Below(7, i)]++;
        Assert.All(counts, c => Assert.InRange(c, 10_000 - 500, 10_000 + 500));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Philox(3, 0, 0, 0).Below(0));
    }

    [Fact]
    public void Shuffle_AllOrdersEquallyOften()
    {
        var counts = new Dictionary<string, int>();
        for (uint epoch = 0; epoch < 24_000; epoch++)
        {
            char[] items = ['a', 'b', 'c', 'd'];
            new Philox(5, epoch, 0, RandomStep.Shuffle).Shuffle(items.AsSpan());
            var order = new string(items);
            counts[order] = counts.GetValueOrDefault(order) + 1;
        }
        Assert.Equal(24, counts.Count);
        Assert.All(counts.Values, c => Assert.InRange(c, 1000 - 160, 1000 + 160));
    }
}
