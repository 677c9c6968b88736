using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>Latents to images.</summary>
public sealed class LatentDecoder : IDisposable
{
    private readonly ImageModel _model;
    private readonly GraphSession? _session;

    /// <summary>Loads the decoder, where there is one.</summary>
    /// <exception cref="UserError">The model cannot be read or run.</exception>
    public LatentDecoder(ImageModel model, SessionSettings settings)
        : this(model, model.Decoder is { } decoder ? new GraphSession(decoder("batch"), settings) : null)
    {
    }

    private LatentDecoder(ImageModel model, GraphSession? session) => (_model, _session) = (model, session);

    /// <summary>Decoders to run side by side, see <see cref="GraphSession.Load"/>.</summary>
    internal static IReadOnlyList<LatentDecoder> Load(ImageModel model, SessionSettings each, int count) => model.Decoder is { } decoder
        ? [.. GraphSession.Load(decoder("batch"), each, count).Select(session => new LatentDecoder(model, session))]
        : [.. Enumerable.Range(0, count).Select(_ => new LatentDecoder(model, (GraphSession?)null))];

    /// <summary>
    /// Decodes latents, all in one run: <c>image = decode(z / scaling_factor + shift_factor)</c>; without a decoder the latents are the
    /// pixels.
    /// </summary>
    /// <param name="latents">Latents [B][C*H*W].</param>
    public RgbImage[] Decode(IReadOnlyList<ReadOnlyMemory<float>> latents)
    {
        var size = _model.Latent;
        if (_session is null) return [.. latents.Select(z => RgbImage.FromFloats(z.Span, size.Width, size.Height))];
        var z = new float[latents.Count * size.Count];
        for (var i = 0; i < latents.Count; i++) latents[i].Span.CopyTo(z.AsSpan(i * size.Count));
        if (_model.ScalingFactor != 1 || _model.ShiftFactor != 0)
        {
            for (var i = 0; i < z.Length; i++) z[i] = (float)((z[i] / _model.ScalingFactor) + _model.ShiftFactor);
        }
        using var input = z.ToOrt(latents.Count, size.Channels, size.Height, size.Width);
        var pixels = _session.Run(("latent_sample", input))["sample"];
        var (length, area) = (pixels.Length / latents.Count, pixels.Length / latents.Count / 3);
        var height = (int)Math.Round(Math.Sqrt((double)area * size.Height / size.Width));
        return [.. Enumerable.Range(0, latents.Count).Select(i =>
            RgbImage.FromFloats(pixels.AsSpan(i * length, length), area / height, height))];
    }

    /// <inheritdoc/>
    public void Dispose() => _session?.Dispose();
}
