using System.Diagnostics;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

/// <summary>The memory of the process is that of every test in it, so these run alone.</summary>
[CollectionDefinition(nameof(ImageCodecMemoryTests), DisableParallelization = true)]
[Collection(nameof(ImageCodecMemoryTests))]
public sealed class ImageCodecMemoryTests
{
    [Fact]
    public void EncodeAndDecode_2000Times_OnManyThreads_KeepNoMemory()
    {
        var images = Enumerable.Range(0, 8).Select(seed => NoiseImage.Of(128, 96, seed)).ToArray();
        var sizes = images.Select(image => ImageCodec.JpegSize(image)).ToArray();
        Round(200);
        var (allocations, resident) = (NetVips.Stats.Allocations, Resident());
        Round(2000);
        // A leak would be one an image; a few of the last images may wait for their threads.
        Assert.InRange(NetVips.Stats.Allocations, 0, allocations + 10);
        // One leaked copy of the pixels an image would be 73 MB.
        Assert.InRange(Resident() - resident, long.MinValue, 32L << 20);

        void Round(int count) => Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
        {
            var image = images[i % images.Length];
            Assert.Equal(sizes[i % images.Length], ImageCodec.JpegSize(image));
            if (i % 10 == 0) Assert.True(image.SameAs(ImageCodec.Decode(ImageCodec.EncodePng(image, compression: 1))));
            if (i % 100 == 0) Assert.Throws<UserError>(() => ImageCodec.Decode(ImageCodec.EncodePng(image, 1).AsSpan(0, 500)));
        });
    }

    private static long Resident()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        using var process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }
}
