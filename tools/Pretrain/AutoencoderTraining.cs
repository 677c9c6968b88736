using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Learning;
using OrtRlhf.Models;
using OrtRlhf.Scenes;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>
/// The autoencoder: squared and absolute errors, weighted four times near objects, absolute errors of the differences of neighbours, and a
/// small pull of the latents to zero; noise of 0.1 on the latents keeps them smooth.
/// </summary>
internal static class AutoencoderTraining
{
    private const string Part = "vae";
    private const float LatentNoise = 0.1f;

    public static int Run(AutoencoderOptions o, CancellationToken stop)
    {
        ShapesModel.WriteFrame(o.Output);
        var known = PipelineFolder.ReadPart(o.Output, Part);
        if (o.DecoderOnly && known.Count == 0) throw new UserError($"--decoder-only: there is no autoencoder in '{o.Output}' yet");
        var trainer = new Trainer(o.DecoderOnly ? "decoder" : Part, o, () => Graph(o, known));
        trainer.Run(_ => Batches(o), tensors =>
            PipelineFolder.WritePart(o.Output, Part, ShapesModel.AutoencoderJson, Joined(known, tensors)), stop);
        return 0;
    }

    private static (OnnxGraph, IReadOnlyList<Value>, Func<OnnxGraph>) Graph(AutoencoderOptions o, Dictionary<string, Tensor> known)
    {
        var graph = new OnnxGraph("autoencoder");
        var x = graph.Input("sample", ElementType.Float, o.BatchSize, 3, Scene.Side, Scene.Side);
        var weight = graph.Input("weight", ElementType.Float, o.BatchSize, 1, Scene.Side, Scene.Side);
        var noise = graph.Input("noise", ElementType.Float, o.BatchSize, ShapesModel.LatentChannels, ShapesModel.LatentSide,
            ShapesModel.LatentSide);
        var trainable = InitialWeights.Make(o.Seed, known);
        var encoder = new Module(graph, o.DecoderOnly ? InitialWeights.Make(o.Seed, known, trainable: false) : trainable, Part);
        var z = AutoencoderTiny.Encode(encoder, ShapesModel.Autoencoder, x);
        var y = AutoencoderTiny.Decode(new Module(graph, trainable, Part), ShapesModel.Autoencoder, z + (noise * LatentNoise));
        var error = y - x;
        var loss = Mean(Square(error) * weight) + (Mean(Abs(error) * weight) * 0.5) + ((Edges(error, 2) + Edges(error, 3)) * 0.5)
            + (Mean(Square(z)) * 5e-4);
        Value[] parameters = [.. graph.Inputs.Where(i => i.Data is not null)];
        return (graph, parameters, () => TrainingGraph.Finish(loss, parameters));

        static Value Edges(Value e, long axis) => Mean(Abs(e.Slice(axis, 1, Scene.Side) - e.Slice(axis, 0, Scene.Side - 1)));
    }

    private static NextBatch Batches(AutoencoderOptions o)
    {
        const int Length = 3 * SceneFeed.Area;
        var (b, latent) = (o.BatchSize, ShapesModel.LatentChannels * ShapesModel.LatentSide * ShapesModel.LatentSide);
        var (images, weights, noise) = (new float[b * Length], new float[b * SceneFeed.Area], new float[b * latent]);
        var inputs = new[]
        {
            ("sample", images.ToOrt(b, 3, Scene.Side, Scene.Side)), ("weight", weights.ToOrt(b, 1, Scene.Side, Scene.Side)),
            ("noise", noise.ToOrt(b, ShapesModel.LatentChannels, ShapesModel.LatentSide, ShapesModel.LatentSide)),
        };
        return batch =>
        {
            for (var i = 0; i < b; i++)
            {
                var image = images.AsSpan(i * Length, Length);
                SceneFeed.Draw(SceneSampler.Sample(o.Seed, (batch * (ulong)b) + (ulong)i).Scene, image);
                SceneFeed.Weigh(image, 4, weights.AsSpan(i * SceneFeed.Area, SceneFeed.Area));
            }
            new Philox(o.Seed, (uint)batch, 0, 1).FillGaussian(noise);
            return inputs;
        };
    }

    private static Dictionary<string, Tensor> Joined(Dictionary<string, Tensor> known, IReadOnlyDictionary<string, Tensor> trained)
    {
        var all = new Dictionary<string, Tensor>(known, StringComparer.Ordinal);
        foreach (var (name, tensor) in trained) all[name] = tensor;
        return all;
    }
}
