using System.Numerics.Tensors;

namespace OrtRlhf.Learning;

/// <summary>
/// The counter-based random generator Philox4x32-10 (Salmon et al. 2011), keyed by where its numbers are used:
/// the key is the seed, the counter (block, step, sample, epoch). A number depends on nothing else, so that results do not
/// depend on batch size, thread or machine count, and nothing has to be stored to resume.
/// </summary>
/// <param name="Seed">The run's seed.</param>
/// <param name="Epoch">The epoch.</param>
/// <param name="Sample">The sample's index within the epoch, whatever the batch it is in.</param>
/// <param name="Step">The sampler's step, or one of <see cref="RandomStep"/> for other uses.</param>
public readonly record struct Philox(ulong Seed, uint Epoch, uint Sample, uint Step)
{
    private const int BlockLength = 256;
    private const float InverseRange = 1f / (1UL << 32);

    /// <summary>Fills with uniform numbers in [0, 1), multiples of 2^-24.</summary>
    public void FillUniform(Span<float> destination)
    {
        Span<uint> bits = stackalloc uint[BlockLength];
        for (var start = 0; start < destination.Length; start += BlockLength)
        {
            Fill(bits, start / 4);
            var part = destination[start..Math.Min(destination.Length, start + BlockLength)];
            for (var i = 0; i < part.Length; i++)
                part[i] = Unit(bits[i]);
        }
    }

    /// <summary>
    /// Fills with standard normal numbers (Box-Muller: <c>sqrt(-2 ln u1) * (cos, sin)(2 pi u2)</c>, |z| below 6.8).
    /// A shorter span receives the beginning of what a longer one does.
    /// </summary>
    /// <param name="destination">Receives the numbers.</param>
    /// <param name="offset">How many numbers of this key to skip; a multiple of 256.</param>
    /// <exception cref="ArgumentException">The offset is negative or not such a multiple.</exception>
    public void FillGaussian(Span<float> destination, int offset = 0)
    {
        if (offset < 0 || offset % BlockLength != 0)
            throw new ArgumentException($"expected an offset that is a multiple of {BlockLength}, got {offset}");
        const int half = BlockLength / 2;
        Span<uint> bits = stackalloc uint[BlockLength];
        Span<float> radius = stackalloc float[half];
        Span<float> angle = stackalloc float[half];
        Span<float> z = stackalloc float[BlockLength];
        for (var start = 0; start < destination.Length; start += BlockLength)
        {
            // Whole blocks only: the vectorised functions may round a short tail differently.
            Fill(bits, (offset + start) / 4);
            for (var i = 0; i < half; i++)
            {
                radius[i] = bits[i] * InverseRange + InverseRange / 2;
                angle[i] = Unit(bits[half + i]) * MathF.Tau;
            }
            TensorPrimitives.Log(radius, radius);
            TensorPrimitives.Multiply(radius, -2f, radius);
            TensorPrimitives.Sqrt(radius, radius);
            TensorPrimitives.Cos(angle, z[..half]);
            TensorPrimitives.Sin(angle, z[half..]);
            TensorPrimitives.Multiply(z[..half], radius, z[..half]);
            TensorPrimitives.Multiply(z[half..], radius, z[half..]);
            var length = Math.Min(BlockLength, destination.Length - start);
            z[..length].CopyTo(destination[start..]);
        }
    }

    /// <summary>A uniform integer in [0, bound); its bias, below bound/2^64, cannot be seen.</summary>
    /// <param name="bound">Exclusive upper bound, at least 1.</param>
    /// <param name="index">Which number of this key; different indices are independent.</param>
    public int Below(int bound, uint index = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bound, 1);

        var (a, b, _, _) = Block(Key(Seed), index, Step, Sample, Epoch);
        var high = ((ulong)a << 32) | b;
        return (int)Math.BigMul(high, (ulong)bound, out _);
    }

    /// <summary>Shuffles in place (Fisher-Yates); all orders are equally likely.</summary>
    public void Shuffle<T>(Span<T> items)
    {
        for (var i = items.Length - 1; i > 0; i--)
        {
            var j = Below(i + 1, (uint)i);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }

    /// <summary>The bare generator: ten rounds on a counter of four words with a key of two.</summary>
    public static (uint, uint, uint, uint) Block((uint, uint) key, uint c0, uint c1, uint c2, uint c3)
    {
        var (k0, k1) = key;
        for (var round = 0; round < 10; round++)
        {
            var p0 = (ulong)0xD2511F53 * c0;
            var p1 = (ulong)0xCD9E8D57 * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return (c0, c1, c2, c3);
    }

    private static (uint, uint) Key(ulong seed) => ((uint)seed, (uint)(seed >> 32));

    private static float Unit(uint bits) => (bits >> 8) * (1f / (1 << 24));

    private void Fill(Span<uint> bits, int firstBlock)
    {
        var key = Key(Seed);
        for (var i = 0; i < bits.Length; i += 4)
            (bits[i], bits[i + 1], bits[i + 2], bits[i + 3]) = Block(key, (uint)(firstBlock + i / 4), Step, Sample, Epoch);
    }
}
