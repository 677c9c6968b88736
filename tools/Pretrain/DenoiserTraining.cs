using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Scenes;
using OrtRlhf.Tuning.Sessions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>Denoiser and text encoder together: mean (v_theta(a x0 + s noise, t, caption) - (a noise - s x0))^2, one caption in ten left out.</summary>
internal static class DenoiserTraining
{
    private const string Part = "unet";
    private const double CaptionDropout = 0.1;
    private const int Length = ShapesModel.LatentChannels * ShapesModel.LatentSide * ShapesModel.LatentSide;

    public static int Run(DenoiserOptions o, CancellationToken stop)
    {
        ShapesModel.WriteFrame(o.Output);
        if (!ShapesModel.HasPart(o.Output, "vae")) throw new UserError($"there is no autoencoder in '{o.Output}' yet; train it first");
        var known = new[] { Part, TextTraining.Part }.Where(p => ShapesModel.HasPart(o.Output, p)).SelectMany(p => ShapesModel.ReadPart(o.Output, p)).ToDictionary();
        using var codec = new LatentCodec(o.Output, threads: 1);
        var pool = new LatentPool(codec, ClipTokenizer.Open(Path.Combine(o.Output, "tokenizer")), o.Seed, o.Pool);
        var trainer = new Trainer(Part, o, () => Graph(o, known));
        trainer.Run(
            _ => Batches(o, pool),
            tensors =>
            {
                ShapesModel.WritePart(o.Output, Part, ShapesModel.UnetJson, tensors);
                ShapesModel.WritePart(o.Output, TextTraining.Part, ShapesModel.TextEncoderJson, tensors);
            },
            stop);
        return 0;
    }

    private static (OnnxGraph, IReadOnlyList<Value>, Func<OnnxGraph>) Graph(DenoiserOptions o, Dictionary<string, Tensor> known)
    {
        var graph = new OnnxGraph("denoiser");
        var b = o.BatchSize;
        var x = graph.Input("sample", ElementType.Float, b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide);
        var target = graph.Input("target", ElementType.Float, b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide);
        var timestep = graph.Input("timestep", ElementType.Int64, b);
        var ids = graph.Input("input_ids", ElementType.Int64, b, SceneVocabulary.MaxLength);
        var weights = InitialWeights.Make(o.Seed, known);
        var text = ClipTextModel.Forward(new Module(graph, weights, TextTraining.Part), ShapesModel.TextEncoder, ids).LastHiddenState;
        var v = UNet2DConditionModel.Forward(new Module(graph, weights, Part), ShapesModel.Unet, x, timestep, text);
        var loss = Mean(Square(v - target));
        Value[] parameters = [.. graph.Inputs.Where(i => i.Data is not null)];
        return (graph, parameters, () => TrainingGraph.Finish(loss, parameters));
    }

    private static NextBatch Batches(DenoiserOptions o, LatentPool pool)
    {
        var (b, schedule) = (o.BatchSize, new NoiseSchedule(ShapesModel.Scheduler));
        var (x, target, noise, x0) = (new float[b * Length], new float[b * Length], new float[b * Length], new float[Length]);
        var (timesteps, ids) = (new long[b], new long[b * SceneVocabulary.MaxLength]);
        var inputs = new[]
        {
            ("sample", x.ToOrt(b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide)),
            ("target", target.ToOrt(b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide)),
            ("timestep", timesteps.ToOrt(b)), ("input_ids", ids.ToOrt(b, SceneVocabulary.MaxLength)),
        };
        return batch =>
        {
            pool.Grow(Math.Max(1, b / o.Fresh));
            new Philox(o.Seed, (uint)batch, 0, 2).FillGaussian(noise);
            for (var i = 0; i < b; i++)
            {
                var random = new Philox(o.Seed, (uint)batch, (uint)i, 3);
                var caption = pool.Take(random.Below(int.MaxValue), i < b / o.Fresh, i, x0);
                if (random.Below(1000, 1) < 1000 * CaptionDropout) caption = pool.NoCaption;
                caption.CopyTo(ids, i * SceneVocabulary.MaxLength);
                timesteps[i] = Timestep(random, schedule.Length);
                var at = i * Length;
                var e = noise.AsSpan(at, Length);
                schedule.AddNoise(x0, e, timesteps[i], x.AsSpan(at, Length));
                schedule.Target(x0, e, timesteps[i], target.AsSpan(at, Length));
            }
            return inputs;
        };
    }

    // Logit-normal, as Stable Diffusion 3 draws them (Esser et al., 2024), shifted to high noise, where a picture's layout is decided: a quarter is above 0.9.
    private static long Timestep(Philox random, int count)
    {
        Span<float> z = stackalloc float[1];
        (random with { Step = 4 }).FillGaussian(z);
        return Math.Min(count - 1, (long)(count / (1 + Math.Exp(-(1.1 + (1.5 * z[0]))))));
    }
}

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
                if (!_captions.TryGetValue(samples[i].Caption, out var ids)) _captions[samples[i].Caption] = ids = tokenizer.Encode(samples[i].Caption);
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
