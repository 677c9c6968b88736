using System.Globalization;
using System.Text;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Cli.Commands;

/// <summary>Draws images of prompts.</summary>
[Verb("sample", HelpText = "Draws images of prompts: PNG files, and all of them on one sheet with captions. "
    + "The same model, adapter, prompt, seed and settings give the same image, whatever else is drawn with it.")]
[Example("what the model that ships draws", "sample --prompt \"a large red circle\" --prompt \"two small blue crosses\" --count 4")]
[Example("the same with what a run has learned, at the run's settings",
    "sample --adapter artifacts/runs/small/adapter/adapter.onnx_adapter --prompt \"a large red circle\" --seed 7")]
[Example("many prompts, fewer steps of a better solver",
    "sample my-model --prompts prompts.txt --sampler dpm-solver++ --steps 20 --output images")]
internal sealed class SampleCommand : ModelCommand
{
    private const int SheetCell = 144, LongestName = 48;

    [Option('p', "prompt", Repeats = true, MetaValue = "TEXT",
        HelpText = "A prompt, or a template such as 'a {red|blue} circle'; may be given several times.")]
    public IEnumerable<string> Prompt { get; set; } = [];

    [Option("prompts", MetaValue = "FILE", HelpText = "Prompt file, one prompt or template a line.")]
    public string? Prompts { get; set; }

    [Option("adapter", MetaValue = "FILE", HelpText = "Adapter to use, .onnx_adapter or .safetensors. One in a run's folder brings the "
        + "run's model and sampling settings as defaults.")]
    public string? Adapter { get; set; }

    [Option("count", MetaValue = "N", HelpText = "Images of each prompt. Default 1.")]
    public int Count { get; set; } = 1;

    [Option("seed", MetaValue = "N", HelpText = "Seed of each prompt's first image; the next one has the next seed. Default 0.")]
    public ulong Seed { get; set; }

    [Option('o', "output", MetaValue = "DIR", HelpText = "Folder for the images, grid.png and samples.json. Default artifacts/samples.")]
    public string Output { get; set; } = Path.Combine("artifacts", "samples");

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        var prompts = Prompt.Any() ? PromptList.Of(Prompt, "--prompt").Prompts.ToList() : [];
        if (Prompts is not null) prompts.AddRange(PromptList.Read(Prompts).Prompts);
        var source = AdaptedModel.Find(Adapter);
        var (sampling, session) = (ToSampling(source.Options.EvaluationSampling), ToSession());
        Require("sample", sampling, session, Count is < 1 or > 10_000 ? [$"--count: expected 1 to 10000, got {Count}"] : []);
        OutputPlace.RequireFolder("output", Output);

        using var policy = source.Open(Model, ToModel(source.Options.ModelOptions));
        if (policy.Model.IsConditional && prompts.Count == 0) throw new UsageError("sample: expected --prompt TEXT or --prompts FILE");
        if (!policy.Model.IsConditional && prompts.Count > 0) throw new UsageError(
            $"sample: model '{policy.Model.Name}' draws without prompts; leave --prompt and --prompts out, --count says how many");
        if (!policy.Model.IsConditional) prompts.Add("");
        SampleRequest[] requests = [.. prompts.SelectMany(prompt =>
            Enumerable.Range(0, Count).Select(i => new SampleRequest(prompt, Seed + (ulong)i, 0, 0)))];
        using var pipeline = new Pipeline(policy, sampling with { BatchSize = Math.Min(sampling.BatchSize, requests.Length) }, session);
        var images = Work.Show("sampling", requests.Length, done => pipeline.Sample(requests, done, cancellation: cancellation));
        Write(images, policy.Model, pipeline.SamplerName, pipeline.GuidanceScale);
        Terminal.Line($"{images.Length} image{(images.Length == 1 ? "" : "s")} in {Output}, all on {Path.Combine(Output, "grid.png")} "
            + $"({pipeline.SamplerName}, guidance {pipeline.GuidanceScale})");
        return ExitCode.Done;
    }

    private void Write(SampledImage[] images, ImageModel model, string sampler, double guidanceScale)
    {
        var entries = new List<object>();
        foreach (var (i, sampled) in images.Index())
        {
            var seed = sampled.Trajectory.Request.Seed;
            var file = string.Create(CultureInfo.InvariantCulture, $"{i + 1:D4}-{Plain(sampled.Prompt)}-{seed}.png");
            AtomicFile.Write(Path.Combine(Output, file), ImageCodec.EncodePng(sampled.Image));
            entries.Add(new { file, sampled.Prompt, seed });
        }
        var grid = new ImageGrid { Columns = Count > 1 ? Count : 0, Scale = Math.Max(1, SheetCell / images[0].Image.Width) };
        AtomicFile.Write(Path.Combine(Output, "grid.png"), ImageCodec.EncodePng(grid.Draw([.. images.Select(s => s.Image)],
            [.. images.Select(s => $"{s.Prompt} ({s.Trajectory.Request.Seed})")])));
        JsonFile.Write(Path.Combine(Output, "samples.json"), new { model = model.Name, Adapter, sampler, guidanceScale, images = entries });
    }

    // A part of a file name: letters and digits of the prompt.
    private static string Plain(string prompt)
    {
        var text = new StringBuilder();
        foreach (var symbol in prompt.ToLowerInvariant())
        {
            if (char.IsAsciiLetterOrDigit(symbol)) text.Append(symbol);
            else if (text.Length > 0 && text[^1] != '-') text.Append('-');
            if (text.Length == LongestName) break;
        }
        return text.Length == 0 ? "image" : text.ToString().TrimEnd('-');
    }
}
