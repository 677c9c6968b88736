using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Models;
using OrtRlhf.Scenes;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>Denoiser and text encoders together: the mean squared error of the model's output, one caption in ten left out.</summary>
internal static class DenoiserTraining
{
    private const double CaptionDropout = 0.1;
    private const int Length = ShapesModel.LatentChannels * ShapesModel.LatentSide * ShapesModel.LatentSide;

    public static int Run(DenoiserTrainingOptions o, IDenoiser denoiser, CancellationToken stop)
    {
        denoiser.WriteFrame(o.Output);
        if (!PipelineFolder.HasPart(o.Output, "vae")) throw new UserError($"there is no autoencoder in '{o.Output}' yet; train it first");
        var parts = denoiser.Configs.Keys;
        var known = parts.SelectMany(p => PipelineFolder.ReadPart(o.Output, p)).ToDictionary();
        using var codec = new LatentCodec(o.Output, threads: 1);
        var pool = new LatentPool(codec, ClipTokenizer.Open(Path.Combine(o.Output, "tokenizer")), o.Seed, o.Pool);
        var trainer = new Trainer(parts.First(), o, () => Graph(o, denoiser, known));
        trainer.Run(
            _ => Batches(o, denoiser, pool),
            tensors =>
            {
                var all = tensors.Concat(denoiser.Buffers).ToDictionary();
                foreach (var (part, config) in denoiser.Configs) PipelineFolder.WritePart(o.Output, part, config, all);
            },
            stop);
        return 0;
    }

    private static (OnnxGraph, IReadOnlyList<Value>, Func<OnnxGraph>) Graph(DenoiserTrainingOptions o, IDenoiser denoiser,
        Dictionary<string, Tensor> known)
    {
        var graph = new OnnxGraph("denoiser");
        var b = o.BatchSize;
        var x = graph.Input("sample", ElementType.Float, b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide);
        var target = graph.Input("target", ElementType.Float, b, ShapesModel.LatentChannels, ShapesModel.LatentSide,
            ShapesModel.LatentSide);
        var timestep = graph.Input("timestep", ElementType.Float, b);
        var ids = graph.Input("input_ids", ElementType.Int64, b, SceneVocabulary.MaxLength);
        var output = denoiser.Forward(graph, InitialWeights.Make(o.Seed,
            known.Concat(denoiser.Buffers.Where(p => !known.ContainsKey(p.Key))).ToDictionary()), x, timestep, ids);
        var loss = Mean(Square(output - target));
        Value[] parameters = [.. graph.Inputs.Where(i => i.Data is not null)];
        return (graph, parameters, () => TrainingGraph.Finish(loss, parameters));
    }

    private static NextBatch Batches(DenoiserTrainingOptions o, IDenoiser denoiser, LatentPool pool)
    {
        var b = o.BatchSize;
        var (x, target, noise, x0) = (new float[b * Length], new float[b * Length], new float[b * Length], new float[Length]);
        var (timesteps, ids) = (new float[b], new long[b * SceneVocabulary.MaxLength]);
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
            Span<float> z = stackalloc float[1];
            for (var i = 0; i < b; i++)
            {
                var random = new Philox(o.Seed, (uint)batch, (uint)i, 3);
                var caption = pool.Take(random.Below(int.MaxValue), i < b / o.Fresh, i, x0);
                if (random.Below(1000, 1) < 1000 * CaptionDropout) caption = pool.NoCaption;
                caption.CopyTo(ids, i * SceneVocabulary.MaxLength);
                (random with { Step = 4 }).FillGaussian(z);
                var at = i * Length;
                timesteps[i] = denoiser.AddNoise(z[0], x0, noise.AsSpan(at, Length), x.AsSpan(at, Length), target.AsSpan(at, Length));
            }
            return inputs;
        };
    }
}
