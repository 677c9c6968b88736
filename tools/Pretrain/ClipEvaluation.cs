using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Rewards;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>
/// How good a CLIP of scenes is, by the reward <c>clip-score</c> itself, on captions of combinations that its training left out: whether
/// the right picture
/// scores above others (AUC), above one that differs in a single word, which of up to 32 captions is picked, and, on pictures that a model
/// drew, how the score goes
/// with prompt-alignment.
/// </summary>
internal static class ClipEvaluation
{
    private const int Choices = 32, Each = 8; // captions to choose from; pictures that a model draws of a prompt

    public static int Run(EvaluateClipOptions o)
    {
        using var reward = RewardRegistry.Default.Parse($"clip-score:'{o.Output}'");
        Console.WriteLine("kind                 AUC  one word off  1 of 32   in 5    right  others");
        foreach (var kind in Enum.GetValues<SceneKind>())
        {
            var captions = ScenePrompts.HeldOut(kind).Take(Math.Max(Choices, o.Count / 4)).ToArray();
            RewardInput[] right = [.. captions.Select((caption, i) =>
                new RewardInput(Draw(SceneCaption.Parse(caption)!, (ulong)i)!, caption, i))];
            var own = reward.Score(right);
            // A caption that the picture satisfies, too, is no wrong one.
            var others = Enumerable.Range(0, right.Length).Select(_ => new List<float>()).ToArray();
            for (var k = 1; k < Math.Min(Choices, right.Length); k++)
            {
                RewardInput[] swapped = [.. right.Select((input, i) => input with { Prompt = right[(i + k) % right.Length].Prompt })];
                var scores = reward.Score(swapped);
                for (var i = 0; i < swapped.Length; i++)
                    if (!SceneVerifier.Score(swapped[i].Image.Pixels, SceneCaption.Parse(swapped[i].Prompt)!).Correct) others[i]
                        .Add(scores[i]);
            }
            var auc = own.SelectMany(_ => others.SelectMany(row => row), (a, b) => a > b ? 1.0 : a == b ? 0.5 : 0).Average();
            var ranks = own.Select((score, i) => others[i].Count(other => other >= score)).ToArray();
            var near = right.Select((input, i) => Near(input, i)).ToArray();
            var beaten = reward.Score(near).Zip(own, (b, a) => a > b ? 1.0 : 0).Average();
            Console.WriteLine($"{kind,-18} {auc,5:F3} {100 * beaten,12:F1}% {100.0 * ranks.Count(r => r == 0) / ranks.Length,7:F1}% "
                + $"{100.0 * ranks.Count(r => r < 5) / ranks.Length,6:F1}% {own.Average(),7:F1} {others.Average(row => row.Average()),7:F1}");
        }
        if (o.Samples is not null) Compare(o, reward);
        return 0;
    }

    // The same prompt with a picture of a caption that differs in one thing.
    private static RewardInput Near(RewardInput input, int index)
    {
        var spec = SceneCaption.Parse(input.Prompt)!;
        for (uint attempt = 0; ; attempt++)
        {
            var other = ScenePairs.Changed(spec, new Philox(4712, (uint)index, attempt, 0));
            if (other != spec && Draw(other, (ulong)index) is { } image) return input with { Image = image };
        }
    }

    private static RgbImage? Draw(SceneSpec spec, ulong index) =>
        ScenePairs.TryCompose(spec, 4711, index) is { } scene ? new RgbImage(Scene.Side, Scene.Side, SceneDrawing.Draw(scene)) : null;

    private static void Compare(EvaluateClipOptions o, WeightedReward reward)
    {
        using var policy = Policy.Create(ImageModel.Open(o.Samples!), new LoraOptions(), seed: 0);
        using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 10, Eta = 1, GuidanceScale = 3, BatchSize = 32 },
            new() { Threads = 1 });
        var prompts = Enum.GetValues<SceneKind>().SelectMany(kind => ScenePrompts.HeldOut(kind).Take(o.Count / 4 / Each)).ToArray();
        var samples = pipeline.Sample([.. Enumerable.Range(0, prompts.Length * Each).Select(i =>
            new SampleRequest(prompts[i / Each], 4711, 0, (uint)i))]);
        RewardInput[] inputs = [.. samples.Select((sample, i) => new RewardInput(sample.Image, sample.Prompt, i))];
        var (clip, alignment) = (reward.Score(inputs), RewardRegistry.Default.Parse("prompt-alignment").Score(inputs));
        var correct = RewardRegistry.Default.Parse("prompt-accuracy").Score(inputs);
        var pairs = Enumerable.Range(0, inputs.Length).SelectMany(i =>
            Enumerable.Range(i / Each * Each, Each).Where(j => correct[i] > correct[j]).Select(j => clip[i] > clip[j] ? 1.0 : 0)).ToArray();
        Console.WriteLine($"pictures of {o.Samples}: {inputs.Length}, {correct.Count(c => c == 1)} right; correlation with "
            + $"prompt-alignment {Correlation(clip, alignment):F3}, "
            + $"within prompts {Correlation(Centred(clip), Centred(alignment)):F3}; of two pictures of a prompt the right one scores "
                + $"higher in {100 * pairs.DefaultIfEmpty(double.NaN).Average():F1}% of {pairs.Length} pairs");

        static float[] Centred(float[] x) => [.. x.Chunk(Each).SelectMany(part => part.Select(v => v - part.Average()))];
    }

    private static double Correlation(float[] a, float[] b)
    {
        var (x, y) = (a.Average(), b.Average());
        var (xy, xx, yy) = (0.0, 0.0, 0.0);
        for (var i = 0; i < a.Length; i++) (xy, xx, yy) = (xy + ((a[i] - x) * (b[i] - y)), xx + ((a[i] - x) * (a[i] - x)),
            yy + ((b[i] - y) * (b[i] - y)));
        return xy / Math.Sqrt(xx * yy);
    }
}
