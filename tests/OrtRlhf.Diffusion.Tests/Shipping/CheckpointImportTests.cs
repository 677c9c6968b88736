using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Shipping;

public class CheckpointImportTests
{
    private const string Prompt = "a red dot";
    private static readonly long[] Timesteps = [999, 20];

    [Fact]
    public void Adapter_ThroughTheOfficialApi_GivesTheSamplersOutput()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        using var policy = RandomPolicy.Create(model, new LoraOptions { Rank = 3, Alpha = 6 });
        CheckpointImport.Write(ImportPlan.Make(model.Folder, new ImportOptions { LoraTargets = policy.Lora.Targets }), folder.At("export"));
        AdapterFile.Write(policy, folder.At("run.onnx_adapter"));
        var x = Enumerable.Range(0, 2 * model.Latent.Count).Select(i => MathF.Sin(i)).ToArray();

        var settings = new SessionSettings { Threads = 1 };
        using var text = new TextEmbeddings(model, settings);
        using var denoiser = new GuidedDenoiser(policy.Denoiser("batch").Graph, policy.Adapters, model.Latent, text, 1, settings);
        float[] tuned = new float[x.Length], original = new float[x.Length];
        denoiser.Run(x, [.. Timesteps], [Prompt, Prompt], tuned);
        policy.AsBase(() => denoiser.Run(x, [.. Timesteps], [Prompt, Prompt], original));

        // From here on nothing of ours but the files.
        var (withAdapter, without) = Official(folder.At("export"), folder.At("run.onnx_adapter"),
            model.TextEncoders[0].Tokenize(Prompt), x);
        Numbers.Close(tuned, withAdapter, 1e-5);
        Numbers.Close(original, without, 1e-5);
        Assert.True(Numbers.Error(original, tuned) > 1e-2, "the adapter changes nothing, so that the test shows nothing");
    }

    [Fact]
    public void Write_OpenedAgain_IsTheSamePipeline()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        CheckpointImport.Write(ImportPlan.Make(model.Folder, new ImportOptions()), folder.At("export"));
        CheckpointImport.Write(ImportPlan.Make(folder.At("export"), new ImportOptions { LoraTargets = [] }), folder.At("again"));
        Assert.True(File.Exists(folder.At("export", "vae_encoder", "model.onnx")));
        var again = ImageModel.Open(folder.At("again"));
        Assert.Equal((model.Latent, model.ScalingFactor, model.ShiftFactor, model.Scheduler!.Prediction),
            (again.Latent, again.ScalingFactor, again.ShiftFactor, again.Scheduler!.Prediction));
        using var policy = RandomPolicy.Create(model, new LoraOptions());
        AdapterFile.Write(policy, folder.At("a.safetensors"));
        using var onExport = Policy.WithAdapter(again, AdapterFile.Open(folder.At("a.safetensors")));
        Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(onExport), 1e-5);
    }

    [Fact]
    public void Write_OntoTheModel_Throws()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        Assert.Contains("holds the model that is imported", Assert.Throws<UserError>(() =>
            CheckpointImport.Write(ImportPlan.Make(model.Folder, new ImportOptions()), folder.At("tiny") + "/")).Message);
    }

    [Fact]
    public void Write_Cancelled_LeavesTheEarlierFolderAndNothingElse()
    {
        using var folder = new TempFolder();
        var model = TinyModel.Write(folder.At("tiny"));
        CheckpointImport.Write(ImportPlan.Make(model, new ImportOptions()), folder.At("onnx"));
        var before = Snapshot(folder.At("onnx"));
        using var stop = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
            CheckpointImport.Write(ImportPlan.Make(model, new ImportOptions { Type = ElementType.Float16 }), folder.At("onnx"), p =>
        {
            if (p.Done > p.Total / 2) stop.Cancel();
        }, stop.Token));
        Assert.Equal(before, Snapshot(folder.At("onnx")));
        Assert.Equal(["onnx", "tiny"], Directory.GetDirectories(folder.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Write_AfterAKill_StartsAnewAndReplacesTheEarlierFolder()
    {
        using var folder = new TempFolder();
        var model = TinyModel.Write(folder.At("tiny"));
        CheckpointImport.Write(ImportPlan.Make(model, new ImportOptions()), folder.At("onnx"));
        var single = new FileInfo(folder.At("onnx", "unet", "model.onnx")).Length;
        Directory.CreateDirectory(folder.At("onnx.partial", "unet"));
        File.WriteAllText(folder.At("onnx.partial", "unet", "half.onnx"), "half");
        var progress = new List<ImportProgress>();
        var plan = ImportPlan.Make(model, new ImportOptions { Type = ElementType.Float16 });
        var total = plan.Bytes;
        CheckpointImport.Write(plan, folder.At("onnx"), progress.Add);
        Assert.True(new FileInfo(folder.At("onnx", "unet", "model.onnx")).Length < single);
        Assert.False(File.Exists(folder.At("onnx", "unet", "half.onnx")));
        Assert.Equal(["onnx", "tiny"], Directory.GetDirectories(folder.Path).Select(Path.GetFileName).Order());
        Assert.All(progress.Zip(progress.Skip(1)), p => Assert.True(p.First.Done < p.Second.Done));
        Assert.Equal(total, progress[^1].Total);
        ImageModel.Open(folder.At("onnx"));
    }

    [Fact]
    public void Write_OverOtherFiles_Throws()
    {
        using var folder = new TempFolder();
        var model = TinyModel.Write(folder.At("tiny"));
        Directory.CreateDirectory(folder.At("mine"));
        File.WriteAllText(folder.At("mine", "notes.txt"), "keep");
        var error = Assert.Throws<UserError>(() => CheckpointImport.Write(ImportPlan.Make(model, new ImportOptions()), folder.At("mine")));
        Assert.Contains("notes.txt", error.Message);
        Assert.Contains("holds the model that is imported",
            Assert.Throws<UserError>(() => CheckpointImport.Write(ImportPlan.Make(model, new ImportOptions()), folder.Path)).Message);
        Assert.Equal("keep", File.ReadAllText(folder.At("mine", "notes.txt")));
        using var busy = StagedFolder.Begin(folder.At("busy"), _ => true);
        Assert.Contains("another process", Assert.Throws<UserError>(() => StagedFolder.Begin(folder.At("busy"), _ => true)).Message);
    }

    private static string[] Snapshot(string folder) =>
        [.. Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(f =>
            $"{f} {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(f)))}")];

    private static (float[] WithAdapter, float[] Without) Official(string folder, string adapterFile, long[] ids, float[] x)
    {
        using var textEncoder = new InferenceSession(Path.Combine(folder, "text_encoder", "model.onnx"));
        using var unet = new InferenceSession(Path.Combine(folder, "unet", "model.onnx"));
        using var adapter = OrtLoraAdapter.Create(adapterFile, null);
        using var plain = new RunOptions();
        using var adapted = new RunOptions();
        adapted.AddActiveLoraAdapter(adapter);

        using var idTensor = OrtValue.CreateTensorValueFromMemory((long[])[.. ids, .. ids], [2, ids.Length]);
        using var encoded = textEncoder.Run(plain, ["input_ids"], [idTensor], ["last_hidden_state"]);
        using var sample = OrtValue.CreateTensorValueFromMemory(x, [2, 4, TinyModel.Cells, TinyModel.Cells]);
        using var timestep = OrtValue.CreateTensorValueFromMemory(Timesteps, [2]);
        return (Denoise(adapted), Denoise(plain));

        float[] Denoise(RunOptions options)
        {
            using var output = unet.Run(options, ["sample", "timestep", "encoder_hidden_states"], [sample, timestep, encoded[0]],
                ["out_sample"]);
            return output[0].GetTensorDataAsSpan<float>().ToArray();
        }
    }
}
