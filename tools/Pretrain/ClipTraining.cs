using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Learning;
using OrtRlhf.Models;
using OrtRlhf.Scenes;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Pretrain;

/// <summary>
/// CLIP on scenes and captions (Radford et al., 2021): the symmetric cross-entropy of <c>e^s cos(image_i, text_j)</c> against i = j, s
/// learned, at most
/// ln 100. Scenes come in pairs that differ in one word, so that each has a hard negative. Two linear heads, dropped afterwards, help the
/// image tower at
/// the start: what covers each patch, and how many of each subject there are. Pictures are blurred and made noisy at random, as models draw
/// them. Combinations that tuning holds out are left out here, too.
/// </summary>
internal static class ClipTraining
{
    /// <summary>Names of the heads' weights begin so.</summary>
    public const string Heads = "heads";

    private const int Subjects = 24, Most = 4; // a colour and a shape; objects of a subject in a scene
    private const int Tokens = 18; // of the longest caption; what follows the end of a text does not change its embedding
    private const int Cells = 8, Pixels = Scene.Side / Cells;

    public static int Run(ClipOptions o, CancellationToken stop)
    {
        if (o.BatchSize % 2 != 0) throw new UserError($"--batch-size: expected an even number, got {o.BatchSize}: scenes come in pairs");
        if (File.Exists(Path.Combine(o.Output, "model_index.json"))) throw new UserError($"--output: expected a folder of CLIP's own, "
            + $"but '{o.Output}' holds a pipeline; write for instance --output artifacts/pretrain/shapes-clip");
        Directory.CreateDirectory(o.Output);
        SceneVocabulary.Write(o.Output);
        var (tokenizer, known) = (ClipTokenizer.Open(o.Output), ShapesClip.Known(o.Output, o.Text));
        var trainer = new Trainer("clip", o, () => Graph(o, known));
        trainer.Run(_ => Batches(o, tokenizer), tensors => ShapesClip.Write(o.Output, tensors), stop);
        return 0;
    }

    private static (OnnxGraph, IReadOnlyList<Value>, Func<OnnxGraph>) Graph(ClipOptions o, Dictionary<string, Tensor> known)
    {
        var graph = new OnnxGraph("clip");
        var (b, config) = (o.BatchSize, ShapesClip.Config);
        var pixels = graph.Input("pixel_values", ElementType.Float, b, 3, Scene.Side, Scene.Side);
        var ids = graph.Input("input_ids", ElementType.Int64, b, Tokens);
        var covered = graph.Input("covered", ElementType.Float, b, Cells * Cells, Subjects + 1);
        var counts = graph.Input("counts", ElementType.Float, b, Subjects * Most);
        var m = new Module(graph, InitialWeights.Make(o.Seed, known));
        var image = ClipModel.Encode(m, config, pixels);
        var text = ClipTextModel.Project(m, config.Text, ClipTextModel.Forward(m, config.Text, ids));
        var logits = MatMul(Unit(image.Features), Unit(text).Transpose(1, 0)) * Exp(Clip(m.Parameter("logit_scale"), 0, Math.Log(100)));
        var same = graph.Constant(Identity(b));
        var contrast = (Sum(same * LogSoftmax(logits, 1)) + Sum(same * LogSoftmax(logits, 0))) * (-0.5 / b);

        var patches = m[Heads + "_patch"].Linear(image.LastHiddenState.Slice(1, 1, 1 + (Cells * Cells)), Subjects + 1);
        var cover = Mean(Sum(covered * LogSoftmax(patches, -1), [2])) * -1;
        var z = m[Heads + "_count"].Linear(image.PoolerOutput, Subjects * Most);
        var count = Mean(Sum(Softplus(z) - (z * counts), [1]));
        var loss = contrast + cover + (count * 0.2);
        Value[] parameters = [.. graph.Inputs.Where(i => i.Data is not null)];
        return (graph, parameters, () => TrainingGraph.Finish(loss, parameters, ("contrast", contrast)));

        static Value Unit(Value x) => x / Sqrt(Sum(Square(x), [-1], keepDims: true));
        static Value LogSoftmax(Value x, int axis) => x.Graph.Op("LogSoftmax", [x], ("axis", (long)axis));
    }

    private static NextBatch Batches(ClipOptions o, ClipTokenizer tokenizer)
    {
        const int Length = 3 * SceneFeed.Area, Covered = Cells * Cells * (Subjects + 1), Counts = Subjects * Most;
        var b = o.BatchSize;
        var (images, ids, covered, counts) = (new float[b * Length], new long[b * Tokens], new float[b * Covered], new float[b * Counts]);
        var inputs = new[]
        {
            ("pixel_values", images.ToOrt(b, 3, Scene.Side, Scene.Side)), ("input_ids", ids.ToOrt(b, Tokens)),
            ("covered", covered.ToOrt(b, Cells * Cells, Subjects + 1)), ("counts", counts.ToOrt(b, Counts)),
        };
        return batch =>
        {
            covered.AsSpan().Clear();
            counts.AsSpan().Clear();
            for (var i = 0; i < b; i++)
            {
                var (pair, second) = ((batch * (ulong)(b / 2)) + (ulong)(i / 2), i % 2 == 1);
                var sample = ScenePairs.Sample(o.Seed + 11, pair, second);
                SceneFeed.Draw(sample.Scene, images.AsSpan(i * Length, Length));
                Disturb(images.AsSpan(i * Length, Length), new Philox(o.Seed, (uint)batch, (uint)i, 8));
                tokenizer.Encode(sample.Caption).AsSpan(0, Tokens).CopyTo(ids.AsSpan(i * Tokens));
                Label(sample, covered.AsSpan(i * Covered, Covered), counts.AsSpan(i * Counts, Counts));
            }
            return inputs;
        };
    }

    // Pictures that models draw are softer and noisier than drawn scenes: blur by a 3x3 binomial of random strength, contrast, brightness
    // and noise at random.
    private static void Disturb(Span<float> chw, Philox random)
    {
        Span<float> draws = stackalloc float[4];
        random.FillUniform(draws);
        var blur = Math.Max(0, (0.35f * draws[0]) - 0.1f);
        for (var c = 0; c < 3; c++)
        {
            var plane = chw.Slice(c * SceneFeed.Area, SceneFeed.Area);
            Soften(plane, blur, 1, Scene.Side);
            Soften(plane, blur, Scene.Side, 1);
        }
        var noise = new float[chw.Length];
        (random with { Step = 9 }).FillGaussian(noise);
        var (contrast, brightness, sigma) = (0.85f + (0.3f * draws[1]), 0.2f * (draws[2] - 0.5f), 0.12f * draws[3] * draws[3]);
        for (var i = 0; i < chw.Length; i++) chw[i] = Math.Clamp((chw[i] * contrast) + brightness + (sigma * noise[i]), -1, 1);
    }

    // x_i + w (x_(i-1) - 2 x_i + x_(i+1)) along lines whose cells are a stride apart; the ends stay.
    private static void Soften(Span<float> plane, float weight, int stride, int lineStride)
    {
        for (var line = 0; line < Scene.Side; line++)
        {
            var before = plane[line * lineStride];
            for (var k = 1; k < Scene.Side - 1; k++)
            {
                ref var x = ref plane[(line * lineStride) + (k * stride)];
                var now = x;
                x += weight * (before - (2 * now) + plane[(line * lineStride) + ((k + 1) * stride)]);
                before = now;
            }
        }
    }

    private static void Label(SceneSample sample, Span<float> covered, Span<float> counts)
    {
        for (var cell = 0; cell < Cells * Cells; cell++)
        {
            var (x, y) = (((cell % Cells) + 0.5f) * Pixels, ((cell / Cells) + 0.5f) * Pixels);
            var over = sample.Scene.Objects.FirstOrDefault(o =>
                Math.Abs(x - o.X) < (o.Extent + Pixels) / 2 && Math.Abs(y - o.Y) < (o.Extent + Pixels) / 2);
            covered[(cell * (Subjects + 1)) + (over is null ? Subjects : Subject(over.Colour, over.Shape))] = 1;
        }
        foreach (var group in sample.Spec.Groups)
            for (var n = 0; n < group.Count; n++) counts[(Subject(group.Colour, group.Shape) * Most) + n] = 1;
    }

    private static int Subject(SceneColour colour, SceneShape shape) => ((int)colour * 4) + (int)shape;

    private static Tensor Identity(int size)
    {
        var values = new float[size * size];
        for (var i = 0; i < size; i++) values[i * (size + 1)] = 1;
        return Tensor.Of(values, size, size);
    }
}
