using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Models;
using OrtRlhf.Scenes;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>
/// The text encoder before the denoiser: from the state at the end of a caption, linear heads name what the caption asks (counts, colours,
/// shapes, sizes, relation, background). It spares the denoiser learning the language from noise.
/// </summary>
internal static class TextTraining
{
    public const string Part = "text_encoder";

    // Classes of: count, colour, shape, size of the first group; relation; the same of the second, or none; background.
    private static readonly int[] Classes = [4, 6, 4, 3, 6, 5, 7, 5, 4, 6];

    public static int Run(TextOptions o, CancellationToken stop)
    {
        ShapesModel.WriteFrame(o.Output);
        var tokenizer = ClipTokenizer.Open(Path.Combine(o.Output, "tokenizer"));
        var trainer = new Trainer(Part, o, () => Graph(o));
        trainer.Run(_ => Batches(o, tokenizer), tensors =>
            PipelineFolder.WritePart(o.Output, Part, ShapesModel.TextEncoderJson, tensors), stop);
        return 0;
    }

    private static (OnnxGraph, IReadOnlyList<Value>, Func<OnnxGraph>) Graph(TextOptions o)
    {
        var graph = new OnnxGraph("text");
        var ids = graph.Input("input_ids", ElementType.Int64, o.BatchSize, SceneVocabulary.MaxLength);
        var target = graph.Input("target", ElementType.Float, o.BatchSize, Classes.Sum());
        var weights = InitialWeights.Make(o.Seed);
        var pooled = ClipTextModel.Forward(new Module(graph, weights, Part), ShapesModel.TextEncoder, ids).PoolerOutput;
        var logits = new Module(graph, weights, "heads").Linear(pooled, Classes.Sum());
        var sizes = Classes.Select(c => (long)c).ToArray();
        var logProbs = Layout.Concat(1, [.. logits.Split(1, sizes).Select(part => Log(Softmax(part) + 1e-9))]);
        var loss = Mean(Sum(target * logProbs, [1])) * -1;
        Value[] parameters = [.. graph.Inputs.Where(i => i.Data is not null)];
        return (graph, parameters, () => TrainingGraph.Finish(loss, parameters));
    }

    private static NextBatch Batches(TextOptions o, ClipTokenizer tokenizer)
    {
        var (b, width) = (o.BatchSize, Classes.Sum());
        var (ids, target) = (new long[b * SceneVocabulary.MaxLength], new float[b * width]);
        var inputs = new[] { ("input_ids", ids.ToOrt(b, SceneVocabulary.MaxLength)), ("target", target.ToOrt(b, width)) };
        return batch =>
        {
            target.AsSpan().Clear();
            for (var i = 0; i < b; i++)
            {
                var sample = SceneSampler.Sample(o.Seed + 7, (batch * (ulong)b) + (ulong)i);
                tokenizer.Encode(sample.Caption).CopyTo(ids, i * SceneVocabulary.MaxLength);
                var at = i * width;
                foreach (var (label, count) in Labels(sample.Spec).Zip(Classes))
                {
                    target[at + label] = 1;
                    at += count;
                }
            }
            return inputs;
        };
    }

    private static int[] Labels(SceneSpec s) =>
    [
        s.First.Count - 1, (int)s.First.Colour, (int)s.First.Shape, s.First.Size is { } a ? (int)a : 2,
        s.Relation is { } r ? (int)r : 5,
        s.Second?.Count ?? 0, s.Second is { } c ? (int)c.Colour : 6, s.Second is { } d ? (int)d.Shape : 4, s.Second is { } e
            ? e.Size is { } f ? (int)f : 2 : 3,
        s.Texture is { } t ? (int)t : 5,
    ];
}
