using OrtRlhf.Models;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>Scenes that were drawn and encoded, kept to be used again. The oldest give way.</summary>
internal sealed class LatentPool(LatentCodec codec, ClipTokenizer tokenizer, ulong seed, int capacity)
{
    private const int Length = ShapesModel.LatentChannels * ShapesModel.LatentSide * ShapesModel.LatentSide;
    private readonly List<(float[] Latent, long[] Ids)> _items = [];
    private readonly Dictionary<string, long[]> _captions = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private ulong _next = (ulong)DateTime.UtcNow.Ticks; // a training that goes on draws other scenes
    private int _oldest;

    /// <summary>Tokens of the empty caption.</summary>
    public long[] NoCaption { get; } = tokenizer.Encode("");

    /// <summary>Adds new scenes.</summary>
    public void Grow(int count)
    {
        ulong first;
        lock (_gate) (first, _next) = (_next, _next + (ulong)count);
        const int Image = 3 * SceneFeed.Area;
        var samples = Enumerable.Range(0, count).Select(i => SceneSampler.Sample(seed, first + (ulong)i)).ToArray();
        var images = new float[count * Image];
        for (var i = 0; i < count; i++) SceneFeed.Draw(samples[i].Scene, images.AsSpan(i * Image, Image));
        var latents = codec.Encode(images, count);
        lock (_gate)
        {
            for (var i = 0; i < count; i++)
            {
                if (!_captions.TryGetValue(samples[i].Caption, out var ids)) _captions[samples[i].Caption] = ids =
                    tokenizer.Encode(samples[i].Caption);
                var item = (latents.AsSpan(i * Length, Length).ToArray(), ids);
                if (_items.Count < capacity) _items.Add(item);
                else _items[_oldest = (_oldest + 1) % capacity] = item;
            }
        }
    }

    /// <summary>Copies a scene's latent, one of the newest or any, and gives its caption's tokens.</summary>
    public long[] Take(int draw, bool newest, int place, Span<float> latent)
    {
        lock (_gate)
        {
            var (found, ids) = _items[newest && _items.Count < capacity ? Math.Max(0, _items.Count - 1 - place) : draw % _items.Count];
            found.CopyTo(latent);
            return ids;
        }
    }
}
