using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Artifacts;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Tests.Artifacts;

/// <summary>
/// The four artifacts, trained by ONNX Runtime's own training runtime, the training build of onnxruntime-web under Node: see tests/Node.
/// </summary>
public class OrtTrainingArtifactsTests(ITestOutputHelper output)
{
    private const int Steps = 10, Batch = 2;
    private const double LearningRate = 0.001; // the runtime's own: its API for Node sets none
    private static readonly string Dist = Path.Combine(GoldenFile.Repository, "tests", "Node", "node_modules", "onnxruntime-web", "dist");

    [Fact]
    public void TenSteps_InTheTrainingRuntime_EqualOurOwnAdamW()
    {
        Assert.SkipUnless(HasNode(), "Node.js is not installed (apt-get install nodejs npm), then run npm ci in tests/Node");
        Assert.SkipUnless(Directory.Exists(Dist), "the training build of ONNX Runtime is not installed: run npm ci in tests/Node");
        using var folder = new TempFolder();
        var model = TrainingDenoiser.Open(TinyModel.Write(folder.At("model")));
        var options = new TrainingFileOptions
        {
            Method = TuningMethods.TrainingFile("mse"),
            BatchSize = Batch,
            Lora = new LoraOptions { Rank = 2, Alpha = 4 },
            Seed = 3
        };
        var adamW = new AdamWOptions { WeightDecay = 0.01 };
        OrtTrainingArtifacts.Write(model, options, adamW, folder.At("artifacts"));
        var feeds = Feeds();
        var theirs = Train(folder.At("artifacts"), folder.At("feeds.json"), feeds);

        var file = TrainingFile.Build(model, options);
        float[] parameters = [.. file.Parameters.SelectMany(p => p.Initial.ToFloats())];
        var (ours, losses) = TrainOurselves(file, parameters, feeds, adamW);
        Assert.True(theirs.Losses[^1] < theirs.Losses[0] - 1e-3, $"the loss does not fall: {string.Join(" ", theirs.Losses)}");
        var errors = new double[Steps];
        for (var step = 0; step < Steps; step++)
        {
            Assert.Equal(losses[step], theirs.Losses[step], 1e-5);
            var got = MemoryMarshal.Cast<byte, float>(Convert.FromBase64String(theirs.Parameters[step])).ToArray();
            Assert.Equal(ours[step].Length, got.Length);
            errors[step] = ours[step].Zip(got, (a, b) => Math.Abs(a - b)).Max();
        }
        output.WriteLine($"losses {string.Join(" ", theirs.Losses)}; largest differences of parameters {string.Join(" ", errors)}");
        Assert.True(errors.Max() <= 1e-5, $"parameters differ by {string.Join(" ", errors.Select(e => e.ToString("E1")))}");
        Assert.True(theirs.Evaluation < theirs.Losses[^1], $"the evaluation model says {theirs.Evaluation} after {theirs.Losses[^1]}");
    }

    [Fact]
    public void Write_BadWeightDecay_ThrowsUserError()
    {
        using var folder = new TempFolder();
        var model = TrainingDenoiser.Open(TinyModel.Write(folder.At("model")));
        Assert.Contains("weight decay", Assert.Throws<UserError>(() => OrtTrainingArtifacts.Write(model,
            new() { Method = TuningMethods.TrainingFile("mse") }, new() { WeightDecay = -1 }, folder.At("a"))).Message);
        Assert.False(Directory.Exists(folder.At("a")));
    }

    private static bool HasNode() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Any(folder => File.Exists(Path.Combine(folder, OperatingSystem.IsWindows() ? "node.exe" : "node")));

    private sealed record Result(double[] Losses, string[] Parameters, double Evaluation);

    private static (string Name, Tensor Data)[] Feeds()
    {
        float[] Draw(uint which, int count)
        {
            var values = new float[count];
            new Philox(11, 0, which, 0).FillGaussian(values);
            return values;
        }
        const int latent = Batch * 4 * TinyModel.Cells * TinyModel.Cells;
        return
        [
            ("sample", Tensor.Of(Draw(1, latent), Batch, 4, TinyModel.Cells, TinyModel.Cells)),
            ("timestep", Tensor.Vector(481, 7)),
            ("encoder_hidden_states",
                Tensor.Of(Draw(2, Batch * TinyModel.Tokens * TinyModel.Width), Batch, TinyModel.Tokens, TinyModel.Width)),
            ("target", Tensor.Of(Draw(3, latent), Batch, 4, TinyModel.Cells, TinyModel.Cells)),
        ];
    }

    private static Result Train(string artifacts, string feedsPath, (string Name, Tensor Data)[] feeds)
    {
        File.WriteAllText(feedsPath, JsonSerializer.Serialize(feeds.ToDictionary(f => f.Name, f => new
        {
            type = f.Data.Type == ElementType.Int64 ? "int64" : "float32",
            dims = f.Data.Dims,
            data = f.Data.Type == ElementType.Int64 ? f.Data.ToInt64s().Select(v => (double)v) : f.Data.ToFloats().Select(v => (double)v),
        })));
        var script = Path.Combine(GoldenFile.Repository, "tests", "Node", "train.mjs");
        using var node = Process.Start(new ProcessStartInfo("node",
            [script, Dist, artifacts, feedsPath, $"{Steps}"])
        { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, error) = (node.StandardOutput.ReadToEndAsync(), node.StandardError.ReadToEndAsync());
        Assert.True(node.WaitForExit(TimeSpan.FromMinutes(5)), "the training runtime did not end within five minutes");
        Assert.True(node.ExitCode == 0, error.Result);
        return JsonSerializer.Deserialize<Result>(output.Result, new JsonSerializerOptions(JsonSerializerDefaults.Web))!;
    }

    private static (List<float[]> Parameters, List<double> Losses) TrainOurselves(TrainingFile file, float[] parameters,
        (string, Tensor)[] feeds, AdamWOptions options)
    {
        using var settings = Ort.Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(file.Graph), settings);
        var optimizer = new AdamW(parameters.Length, options);
        var (steps, losses) = (new List<float[]>(), new List<double>());
        for (var step = 0; step < Steps; step++)
        {
            var at = 0;
            var bound = file.Parameters.Select(p => (p.Name, Tensor.Of(parameters.AsSpan(at, (int)p.Initial.Count), p.Initial.Dims),
                at += (int)p.Initial.Count)).Select(p => (p.Name, p.Item2));
            var outputs = Ort.Run(session, [.. feeds, .. bound]);
            losses.Add(outputs["loss"].ToFloats()[0]);
            optimizer.Step(parameters, [.. file.Parameters.SelectMany(p => outputs[p.Name + "_grad"].ToFloats())], LearningRate);
            steps.Add([.. parameters]);
        }
        return (steps, losses);
    }
}
