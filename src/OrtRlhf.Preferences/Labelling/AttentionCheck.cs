using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>
/// Pictures spoiled on purpose: tiles of the original in another order, under noise, so that no one who looks prefers them. A rater who
/// does was not looking.
/// </summary>
public static class AttentionCheck
{
    private const string Prefix = "check-";
    private const int Tiles = 8, Noise = 120;

    /// <summary>Writes the spoiled picture of a candidate.</summary>
    /// <param name="folder">The store's folder.</param>
    /// <param name="original">The candidate.</param>
    /// <returns>The spoiled one, to be added to the store; null when the original's id is too long.</returns>
    /// <exception cref="Graph.UserError">The image cannot be read, or the disk is full.</exception>
    public static Candidate? Make(PreferenceFolder folder, Candidate original)
    {
        var id = Prefix + original.Id;
        if (!Candidate.IsId(id)) return null;
        var spoiled = new Candidate(id, original.Prompt, $"images/{id}.png", null, null, Candidate.CheckSource);
        AtomicFile.Write(folder.At(spoiled.Image), ImageCodec.EncodePng(Spoil(folder.Image(original))));
        return spoiled;
    }

    /// <summary>The id of the picture that was spoiled.</summary>
    public static string? OriginalOf(Candidate spoiled) =>
        spoiled.Id.StartsWith(Prefix, StringComparison.Ordinal) ? spoiled.Id[Prefix.Length..] : null;

    private static RgbImage Spoil(RgbImage image)
    {
        var spoiled = new RgbImage(image.Width, image.Height);
        var random = new Philox((ulong)image.Pixels.Length, 0, 0, 0);
        Span<int> order = [.. Enumerable.Range(0, Tiles * Tiles)];
        random.Shuffle(order);
        var noise = new float[image.Width * image.Height * 3];
        random.FillUniform(noise);
        var pixels = spoiled.MutablePixels;
        for (var y = 0; y < image.Height; y++)
        {
            for (var x = 0; x < image.Width; x++)
            {
                int row = y * Tiles / image.Height, column = x * Tiles / image.Width, from = order[(row * Tiles) + column];
                int sourceY = (y - (row * image.Height / Tiles) + (from / Tiles * image.Height / Tiles)) % image.Height;
                int sourceX = (x - (column * image.Width / Tiles) + (from % Tiles * image.Width / Tiles)) % image.Width;
                for (var c = 0; c < 3; c++)
                {
                    var at = 3 * ((y * image.Width) + x) + c;
                    pixels[at] = (byte)Math.Clamp(image.Pixels[3 * ((sourceY * image.Width) + sourceX) + c]
                        + ((noise[at] - 0.5f) * 2 * Noise), 0, 255);
                }
            }
        }
        return spoiled;
    }
}
