using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>Images to latents, the reverse of <see cref="LatentDecoder"/>.</summary>
public sealed class LatentEncoder : IDisposable
{
    private const int Batch = 16;
    private readonly ImageModel _model;
    private readonly GraphSession? _session;
    private readonly ImagePreprocessor _preprocessor;

    /// <summary>Loads the encoder, where there is one.</summary>
    /// <exception cref="UserError">The model has latents, but no encoder.</exception>
    public LatentEncoder(ImageModel model, SessionSettings settings)
    {
        _model = model;
        _preprocessor = new(ImageProcessorConfig.Plain(model.ImageSize.Y, model.ImageSize.X));
        if (model.Decoder is null) return;
        var encoder = model.Encoder ?? throw new UserError($"model '{model.Name}': has no image encoder, which turns chosen images into "
            + $"latents; import it with its vae, or use `Method` d3po, which takes trajectories");
        _session = new GraphSession(encoder("batch"), settings);
    }

    /// <summary>
    /// Encodes images: <c>z = (encode(image) - shift_factor) * scaling_factor</c>, of an autoencoder with variance the mean. Images of
    /// another size than the model's
    /// are resized.
    /// </summary>
    /// <param name="images">The images.</param>
    /// <param name="cancellation">Stops between batches.</param>
    /// <returns>Latents [C*H*W].</returns>
    public float[][] Encode(IReadOnlyList<RgbImage> images, CancellationToken cancellation = default) =>
        [.. images.Chunk(Batch).SelectMany(part =>
    {
        cancellation.ThrowIfCancellationRequested();
        return Part(part);
    })];

    private float[][] Part(RgbImage[] images)
    {
        var (size, length) = (_model.ImageSize, 3 * _model.ImageSize.Y * _model.ImageSize.X);
        var pixels = new float[images.Length * length];
        for (var i = 0; i < images.Length; i++) Pixels(images[i], pixels.AsSpan(i * length, length));
        // Grey pictures have three equal channels.
        if (_session is null) return [.. Enumerable.Range(0, images.Length).Select(i =>
            pixels.AsSpan(i * length, _model.Latent.Count).ToArray())];
        using var input = pixels.ToOrt(images.Length, 3, size.Y, size.X);
        var z = _session.Run(("sample", input)).Single().Value;
        var (each, latent) = (z.Length / images.Length, _model.Latent.Count); // log-variances follow the means
        return [.. Enumerable.Range(0, images.Length).Select(i =>
            Array.ConvertAll(z.AsSpan(i * each, latent).ToArray(), value => (float)((value - _model.ShiftFactor) * _model.ScalingFactor)))];
    }

    private void Pixels(RgbImage image, Span<float> chw)
    {
        if ((image.Height, image.Width) == (_model.ImageSize.Y, _model.ImageSize.X))
        {
            image.ToFloats(chw);
            return;
        }
        _preprocessor.Process(image, chw);
        foreach (ref var value in chw) value = (2 * value) - 1;
    }

    /// <inheritdoc/>
    public void Dispose() => _session?.Dispose();
}
