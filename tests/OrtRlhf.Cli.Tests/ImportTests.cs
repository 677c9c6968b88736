using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class ImportTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void WritesOnnxModels_ThatDrawTheSame()
    {
        using var folder = new TempFolder();
        var output = Cli.Run("import", model.Path, "--output", folder.At("onnx")).Succeeds().Out;
        foreach (var part in (string[])["text_encoder", "unet", "vae_decoder"]) Assert.Contains(folder.At("onnx", part, "model.onnx"),
            output);
        foreach (var source in (string[])[model.Path, folder.At("onnx")])
            Cli.Run("sample", source, "--prompt", "a", "--steps", "2", "--threads", "1", "--output",
                folder.At(Path.GetFileName(source) + "-images")).Succeeds();
        byte[] a = Pixels("tiny-images"), b = Pixels("onnx-images");
        Assert.True(a.Zip(b).Max(pair => Math.Abs(pair.First - pair.Second)) <= 1);

        byte[] Pixels(string images) => [.. ImageCodec.Read(folder.At(images, "0001-a-0.png")).Pixels];
    }

    [Fact]
    public void LargeCheckpoint_NeedsAFractionOfItsSize()
    {
        if (!OperatingSystem.IsLinux()) return; // counts memory as Linux does
        using var folder = new TempFolder();
        var written = WriteLarge(folder.At("text_encoder"), layers: 5);
        var process = Cli.Start("import", folder.At("text_encoder"), "--output", folder.At("onnx"));
        long peak = 0;
        for (; !process.HasExited; Thread.Sleep(5)) peak = Math.Max(peak, Peak(process.Id));
        Cli.Finish(process).Succeeds();
        Assert.InRange(new FileInfo(folder.At("onnx", "text_encoder", "model.onnx.data")).Length, (long)(0.99 * written),
            (long)(1.05 * written));
        Assert.InRange(peak, 50_000_000, written / 2);
    }

    [Fact]
    public void KilledInTheMiddle_LeavesTheEarlierFolder_AndTheNextOneIsWhole()
    {
        using var folder = new TempFolder();
        WriteLarge(folder.At("text_encoder"), layers: 2);
        string[] import = ["import", folder.At("text_encoder"), "--output", folder.At("onnx")];
        Cli.Run(import).Succeeds();
        var whole = Hash();
        // On a busy machine the program may be done before this thread sees that it has begun.
        Assert.True(Enumerable.Range(0, 20).Any(_ => Killed()), "it was done before it was killed, twenty times");
        Assert.True(Directory.Exists(folder.At("onnx.partial")) && Begun() > 0, "nothing was written before it was killed");
        Assert.Equal(whole, Hash());
        Cli.Run(import).Succeeds();
        Assert.Equal(whole, Hash());
        Assert.Equal(["onnx", "text_encoder"], Directory.GetDirectories(folder.Path).Select(Path.GetFileName).Order());

        bool Killed()
        {
            var process = Cli.Start(import);
            var watch = System.Diagnostics.Stopwatch.StartNew();
            while (!process.HasExited && Begun() == 0 && watch.Elapsed < TimeSpan.FromMinutes(4)) Thread.Sleep(1);
            process.Kill(); // SIGKILL: nothing of the program runs any more
            return Cli.Finish(process).ExitCode is 137 or -1;
        }

        long Begun()
        {
            var file = new FileInfo(folder.At("onnx.partial", "text_encoder", "model.onnx"));
            return file.Exists ? file.Length : 0;
        }

        string Hash()
        {
            using var stream = File.OpenRead(folder.At("onnx", "text_encoder", "model.onnx"));
            return Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(stream));
        }
    }

    // 50M parameters a layer in two files of halves, which become 0.2 GB.
    private static long WriteLarge(string folder, int layers)
    {
        var config =
            $$"""{"architectures":["CLIPTextModel"],"vocab_size":1000,"hidden_size":2048,"intermediate_size":8192,"num_hidden_layers":{{layers}},"num_attention_heads":16}""";
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        var tensors = new SortedDictionary<string, Tensor>(StringComparer.Ordinal);
        ClipTextModel.Build(ClipTextConfig.Parse(config), new Weights((name, shape) =>
            tensors[name] = new Tensor(ElementType.BFloat16, shape, () => new byte[2 * shape.Aggregate(1L, (a, b) => a * b)])));
        string[] files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        for (var i = 0; i < 2; i++) SafetensorsFile.Write(Path.Combine(folder, files[i]), tensors.Where((_, n) => n % 2 == i));
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"),
            $"{{\"weight_map\":{{{string.Join(",", tensors.Keys.Select((name, n) => $"\"{name}\":\"{files[n % 2]}\""))}}}}}");
        return tensors.Values.Sum(t => 4 * t.Count);
    }

    private static long Peak(int process)
    {
        try
        {
            var line = File.ReadLines($"/proc/{process}/status").FirstOrDefault(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
            return line is null ? 0 : 1024 * long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1]);
        }
        catch (IOException)
        {
            return 0; // it has ended
        }
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        Cli.Run("import", model.Path).FailsWith(2, "option --output is missing, expected DIR");
        Cli.Run("import", model.Path, "--output", "x", "--dtype", "int8").FailsWith(2, "--dtype: expected fp32 or fp16, got 'int8'");
        Cli.Run("import", model.Path, "--output", model.Path).FailsWith(1, "holds the model that is imported");
    }
}
