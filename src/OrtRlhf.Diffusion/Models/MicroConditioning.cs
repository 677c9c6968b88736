using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace OrtRlhf.Diffusion.Models;

/// <summary>Two numbers of pixels, the vertical one first; as text <c>768x1024</c>.</summary>
/// <param name="Y">Height, or distance from the top.</param>
/// <param name="X">Width, or distance from the left.</param>
[JsonConverter(typeof(PixelsJson))]
public readonly record struct Pixels(int Y, int X)
{
    /// <summary>Reads <c>768x1024</c>, or <c>1024</c> for both; null for anything else.</summary>
    public static Pixels? Parse(string text)
    {
        var parts = text.Split('x', 'X', ',');
        return parts.Length <= 2 && Number(parts[0]) is { } y && Number(parts[^1]) is { } x ? new Pixels(y, x) : null;

        static int? Number(string part) =>
            int.TryParse(part.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Y}x{X}");
}

/// <summary>
/// What Stable Diffusion XL is told of the picture beside the prompt: the size of the photograph it would have been cut from, where it was
/// cut, and its own size.
/// A small original size asks for blur, a crop away from 0 for things cut off. Source: Podell et al., 2023. Other models take none of it.
/// </summary>
public sealed record MicroConditioning
{
    /// <summary>Size of the original; null, the default, for that of the image.</summary>
    public Pixels? OriginalSize { get; init; }

    /// <summary>Distance of the crop from the top and the left; default 0x0.</summary>
    public Pixels Crop { get; init; }

    /// <summary>Size the image is meant for; null, the default, for that of the image.</summary>
    public Pixels? TargetSize { get; init; }

    /// <summary><c>time_ids</c>: original height and width, crop top and left, target height and width.</summary>
    /// <param name="image">Size of the images that are sampled.</param>
    public float[] TimeIds(Pixels image)
    {
        var (original, target) = (OriginalSize ?? image, TargetSize ?? image);
        return [original.Y, original.X, Crop.Y, Crop.X, target.Y, target.X];
    }
}

/// <summary>Pixels as text.</summary>
internal sealed class PixelsJson : JsonConverter<Pixels>
{
    /// <inheritdoc/>
    public override Pixels Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Pixels.Parse(reader.GetString() ?? "") ?? throw new JsonException($"expected pixels such as 768x1024, got '{reader.GetString()}'");

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, Pixels value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}
