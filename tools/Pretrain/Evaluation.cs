using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>How good the whole model is: share of right images by kind of prompt, with what is right in them, and a picture.</summary>
internal static class Evaluation
{
    private const int Shown = 12;

    public static int Run(EvaluateOptions o)
    {
        var options = new SamplingOptions { Steps = o.Steps, Eta = o.Eta, GuidanceScale = o.GuidanceScale, BatchSize = 32 };
        using var policy = Policy.Create(ImageModel.Open(o.Output), new LoraOptions(), seed: 0);
        using var pipeline = new Pipeline(policy, options, new SessionSettings { Threads = o.Threads });
        var (shown, captions) = (new List<RgbImage>(), new List<string>());
        Console.WriteLine("kind                 right  count colour  shape   size relation  partial  JPEG kB");
        foreach (var kind in Enum.GetValues<SceneKind>())
        {
            var prompts = ScenePrompts.HeldOut(kind).Take(o.Count / 2).Concat(ScenePrompts.Training(kind)).ToArray();
            var samples = pipeline.Sample([.. Enumerable.Range(0, o.Count).Select(i =>
                new SampleRequest(prompts[i % prompts.Length], 4711, 0, (uint)i))]);
            var scores = samples.Select(s => SceneVerifier.Score(s.Image.Pixels, SceneCaption.Parse(s.Prompt)!)).ToArray();
            Console.WriteLine(
                $"{kind,-18} {Share(s => s.Correct)} {Share(s => s.CountRight)} {Share(s => s.ColourRight)} {Share(s => s.ShapeRight)} "
                    + $"{Share(s => s.SizeRight)}  {Share(s => s.RelationRight)}"
                + $"    {scores.Average(s => s.Partial):F3}    {samples.Average(s => ImageCodec.JpegSize(s.Image)) / 1000:F3}");
            shown.AddRange(samples.Take(Shown).Select(s => s.Image));
            captions.AddRange(samples.Zip(scores).Take(Shown).Select(s => $"{(s.Second.Correct ? "+" : "-")} {s.First.Prompt}"));

            string Share(Func<SceneScore, bool> right) => $"{100.0 * scores.Count(right) / scores.Length,6:F1}";
        }
        var picture = o.Output.TrimEnd('/') + ".samples.png";
        File.WriteAllBytes(picture, ImageCodec.Encode(new ImageGrid { Columns = Shown, Scale = 2 }.Draw(shown, captions), picture));
        Console.WriteLine(picture);
        return 0;
    }
}
