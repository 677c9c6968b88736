using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Metrics;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>Seconds and memory of one stage.</summary>
/// <param name="Seconds">How long it took, loading included.</param>
/// <param name="PeakMb">Most resident memory of the process while it ran, in MB (1e6 bytes).</param>
public sealed record Stage(double Seconds, double PeakMb);

/// <summary>What the U-Net of Stable Diffusion 1.5 takes on this machine.</summary>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Import">From safetensors to ONNX.</param>
/// <param name="Step">One forward pass of the imported file, batch 1, 512x512 pixels.</param>
/// <param name="Training">One forward and backward pass, rank-4 adapters on attention, batch 1, 512x512 pixels.</param>
public sealed record LargeTiming(long Parameters, Stage Import, Stage Step, Stage Training);

/// <summary>
/// The way of a large model through import, sampling and training: the U-Net of Stable Diffusion 1.5's configuration, 860M parameters,
/// drawn at random. Needs
/// 12 GB of disk; memory is the process's.
/// </summary>
public static class LargeBenchmark
{
    private const string Configuration = """
        {"_class_name":"UNet2DConditionModel","act_fn":"silu","attention_head_dim":8,"block_out_channels":[320,640,1280,1280],"center_input_sample":false,"cross_attention_dim":768,
         "down_block_types":["CrossAttnDownBlock2D","CrossAttnDownBlock2D","CrossAttnDownBlock2D","DownBlock2D"],"downsample_padding":1,"flip_sin_to_cos":true,"freq_shift":0,
         "in_channels":4,"layers_per_block":2,"mid_block_scale_factor":1,"norm_eps":1e-05,"norm_num_groups":32,"out_channels":4,"sample_size":64,
         "up_block_types":["UpBlock2D","CrossAttnUpBlock2D","CrossAttnUpBlock2D","CrossAttnUpBlock2D"]}
        """;

    private const int Cells = 64, Tokens = 77, Width = 768;

    /// <summary>Draws the checkpoint (once a folder), imports it, runs it, differentiates it.</summary>
    /// <param name="folder">Where the checkpoint and the imported model go; they stay there.</param>
    /// <param name="settings">Device, threads, memory.</param>
    /// <exception cref="UserError">The disk is full, memory is short, or the device does not work.</exception>
    public static LargeTiming Run(string folder, SessionSettings settings)
    {
        var checkpoint = Path.Combine(folder, "checkpoint", "unet");
        if (!File.Exists(Path.Combine(checkpoint, "config.json"))) Draw(checkpoint);
        var random = new RandomWeights(2);
        float[] sample = random.Draw(0, 1, 1, 4, Cells, Cells).ToFloats(), states = random.Draw(0, 1, 1, Tokens, Width).ToFloats();
        using OrtValue x = sample.ToOrt(1, 4, Cells, Cells), t = new long[] { 481 }.ToOrt(1), c = states.ToOrt(1, Tokens, Width);
        (string, OrtValue)[] inputs = [("sample", x), ("timestep", t), ("encoder_hidden_states", c)];

        long parameters = 0;
        var onnx = Path.Combine(folder, "onnx");
        var import = Measure(() =>
        {
            var plan = ImportPlan.Make(Path.GetDirectoryName(checkpoint)!, new ImportOptions());
            parameters = plan.Bytes / sizeof(float);
            CheckpointImport.Write(plan, onnx);
        });
        var step = Measure(() =>
        {
            using var options = settings.ToOptions();
            using var session = new InferenceSession(Path.Combine(onnx, "unet", "model.onnx"), options);
            using var run = new RunOptions();
            using var output = session.Run(run, [.. inputs.Select(i => i.Item1)], [.. inputs.Select(i => i.Item2)], ["out_sample"]);
            if (!output[0].GetTensorDataAsSpan<float>().ToArray()
                .All(float.IsFinite)) throw new UserError("the step gave numbers that are not finite");
        });
        var training = Measure(() => Train(ComponentFolder.Open(Path.Combine(onnx, "unet"), "unet"), settings, inputs));
        return new LargeTiming(parameters, import, step, training);
    }

    private static void Train(ComponentFolder folder, SessionSettings settings, (string, OrtValue)[] inputs)
    {
        var graph = ExportedGraph.Read(folder,
            [("sample", ElementType.Float), ("timestep", ElementType.Int64), ("encoder_hidden_states", ElementType.Float)], "out_sample",
            new Dictionary<string, long[]>
            {
                ["sample"] = [1, 4, Cells, Cells],
                ["timestep"] = [1],
                ["encoder_hidden_states"] = [1, Tokens, Width]
            });
        Value[] parameters = [.. InjectLora.Apply(graph, new LoraOptions()).SelectMany(l => new[] { l.A, l.B })];
        using var adapters = new ParameterBuffer([.. parameters.Select(p => (p.Name, p.Data!.Dims))]);
        adapters.Load(new RandomWeights(3).Weight);
        using var gradients = adapters.Like();
        TrainingGraph.Finish(Mean(Square(graph.Outputs[0])), parameters, settings.Gradients);
        using var session = new GraphSession(graph, settings).Bind(adapters).BindOutputs(gradients, TrainingGraph.GradientSuffix);
        session.Run(inputs);
        if (!gradients.Names.All(n => gradients[n].ContainsAnyExcept(0f) && float.IsFinite(
            System.Numerics.Tensors.TensorPrimitives.Sum(gradients[n])))) throw new UserError("a gradient is zero or not finite");
    }

    private static void Draw(string folder)
    {
        Directory.CreateDirectory(folder);
        var (random, tensors) = (new RandomWeights(1), new Dictionary<string, Tensor>(StringComparer.Ordinal));
        UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(Configuration),
            new Weights((name, shape) => tensors[name] = random.Weight(name, shape)));
        SafetensorsFile.Write(Path.Combine(folder, "diffusion_pytorch_model.safetensors"), tensors);
        File.WriteAllText(Path.Combine(folder, "config.json"), Configuration);
    }

    private static Stage Measure(Action work)
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        ResidentMemory.RestartPeak();
        var start = Stopwatch.GetTimestamp();
        work();
        return new Stage(Math.Round(Stopwatch.GetElapsedTime(start).TotalSeconds, 1), Math.Round(ProcessMemory.Peak() / 1e6));
    }
}
