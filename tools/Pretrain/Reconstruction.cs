using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Models;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>What the autoencoder loses.</summary>
internal static class Reconstruction
{
    private const int Length = 3 * SceneFeed.Area;

    public static int Run(ReconstructOptions o)
    {
        using var codec = new LatentCodec(o.Output, threads: 1);
        var (squares, right, images, names) = (0.0, 0, new List<RgbImage>(), new List<string>());
        var (latentSum, latentSquares, latents) = (0.0, 0.0, 0);
        for (var i = 0; i < o.Count; i++)
        {
            var sample = SceneSampler.Sample(12345, (ulong)i);
            var image = new float[Length];
            SceneFeed.Draw(sample.Scene, image);
            var z = codec.Encode(image, 1);
            var y = codec.Decode(z);
            for (var j = 0; j < Length; j++) squares += Math.Pow((Math.Clamp(y[j], -1, 1) - image[j]) / 2, 2);
            foreach (var value in z) (latentSum, latentSquares, latents) = (latentSum + value, latentSquares + ((double)value * value),
                latents + 1);
            var back = RgbImage.FromFloats(y, Scene.Side, Scene.Side);
            var correct = SceneVerifier.Score(back.Pixels, sample.Spec).Correct;
            right += correct ? 1 : 0;
            if (i >= 16) continue;
            images.AddRange([RgbImage.FromFloats(image, Scene.Side, Scene.Side), back]);
            names.AddRange([sample.Caption, correct ? "right" : "wrong"]);
        }
        var picture = o.Output.TrimEnd('/') + ".reconstructions.png";
        File.WriteAllBytes(picture, ImageCodec.Encode(new ImageGrid { Columns = 8, Scale = 2 }.Draw(images, names), picture));
        var mean = latentSum / latents;
        Console.WriteLine($"PSNR {-10 * Math.Log10(squares / o.Count / Length):F1} dB, right {100.0 * right / o.Count:F1}%, latents "
            + $"{mean:F3} +- {Math.Sqrt((latentSquares / latents) - (mean * mean)):F3}, {picture}");
        return 0;
    }
}

/// <summary>The trained autoencoder in both directions.</summary>
internal sealed class LatentCodec : IDisposable
{
    private readonly GraphSession _encoder, _decoder;

    public LatentCodec(string folder, int threads)
    {
        var tensors = PipelineFolder.ReadPart(folder, "vae").ToDictionary(t => t.Key["vae.".Length..], t => t.Value);
        var settings = new SessionSettings { Threads = threads };
        _encoder = new GraphSession(AutoencoderTiny.BuildEncoder(ShapesModel.Autoencoder, new Weights(tensors)), settings);
        _decoder = new GraphSession(AutoencoderTiny.BuildDecoder(ShapesModel.Autoencoder, new Weights(tensors)), settings);
    }

    /// <summary>Images [B,3,64,64] to latents.</summary>
    public float[] Encode(float[] images, int count)
    {
        using var input = images.ToOrt(count, 3, Scene.Side, Scene.Side);
        return _encoder.Run(("sample", input))["latent_sample"];
    }

    /// <summary>A latent to an image [3,64,64].</summary>
    public float[] Decode(float[] latent)
    {
        using var input = latent.ToOrt(1, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide);
        return _decoder.Run(("latent_sample", input))["sample"];
    }

    public void Dispose()
    {
        _encoder.Dispose();
        _decoder.Dispose();
    }
}
