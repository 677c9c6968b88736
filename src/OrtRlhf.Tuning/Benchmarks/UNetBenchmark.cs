using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Sessions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>What is timed.</summary>
public enum UNetWork
{
    /// <summary>Inference, as the sampler does it: a graph of open sizes.</summary>
    Forward,

    /// <summary>Mean squared error and the gradients of all adapters, as the trainer does it: a graph of fixed sizes.</summary>
    ForwardBackward,
}

/// <summary>Time and memory of a U-Net.</summary>
/// <param name="MedianMs">Milliseconds a run, median.</param>
/// <param name="MinMs">The fastest.</param>
/// <param name="PeakMb">Most resident memory of the process in MB (1e6 bytes), loading included.</param>
/// <param name="AfterLoadMb">The most after loading.</param>
/// <param name="IdleMb">Resident before loading: the runtimes alone.</param>
/// <param name="Deviation">
/// Of the output, or of the loss: largest error over largest value, against the folder's; null without a folder.
/// </param>
/// <param name="GradientDeviation">The same of the gradients, the worst tensor; null without.</param>
public sealed record UNetTiming(double MedianMs, double MinMs, double PeakMb, double AfterLoadMb, double IdleMb, double? Deviation, double? GradientDeviation);

/// <summary>
/// Times a U-Net with rank-4 adapters on to_q, to_k, to_v and to_out.0. Its folder is what <c>tools/Peers/bench_unet.py</c> writes: weights and config.json,
/// lora.safetensors, bench.safetensors with inputs, output, loss and gradients. Without one it is a U-Net of the same 35M parameters with random weights.
/// </summary>
public static class UNetBenchmark
{
    private static readonly LoraOptions Lora = new() { Rank = 4, Alpha = 4 };

    /// <summary>Loads, runs, times and compares. Peak memory is the process's: measure one thing a process.</summary>
    /// <param name="folder">The folder; null for random weights.</param>
    /// <param name="work">What to time.</param>
    /// <param name="repeats">Runs, after three that do not count; at least 1.</param>
    /// <param name="settings">Device, threads, memory.</param>
    /// <exception cref="UserError">The folder is not such a one, or the device does not work.</exception>
    public static UNetTiming Run(string? folder, UNetWork work, int repeats, SessionSettings settings)
    {
        var idle = ResidentMemory.Now;
        var given = folder is null ? UNetCase.Random() : UNetCase.Open(folder);
        using var run = new Loaded(given, work, settings);
        var loading = ProcessMemory.Peak();
        ResidentMemory.RestartPeak();
        var times = Timings.Of(run.Once, repeats);
        var after = ProcessMemory.Peak();
        var (deviation, gradients) = run.Compare(given);
        return new UNetTiming(Timings.Median(times), times.Min(), Mb(Math.Max(loading, after)), Mb(after), Mb(idle), deviation, gradients);
    }

    private static double Mb(long bytes) => Math.Round(bytes / 1e6);

    /// <summary>The U-Net as workers hold it, each with its rows of the batch.</summary>
    private sealed class Loaded : IDisposable
    {
        private readonly UNetWork _work;
        private readonly ParameterBuffer _adapters;
        private readonly WorkerPool<Rows> _workers;

        public Loaded(UNetCase given, UNetWork work, SessionSettings settings)
        {
            _work = work;
            var batch = given.Inputs["sample"].Dims[0];
            var (_, parameters) = Adapted(given, null);
            _adapters = new ParameterBuffer([.. parameters.Select(p => (p.Name, p.Data!.Dims))]);
            _adapters.Load(given.Adapter);
            var (each, count) = settings.Split(Graph(null));
            if (batch % count != 0) (each, count) = (settings, 1);
            var graph = Graph(work == UNetWork.ForwardBackward ? batch / count : null);
            _workers = new([.. Enumerable.Range(0, count).Select(i => new Rows(graph, _adapters, work, given, i, batch / count, each))]);

            OnnxGraph Graph(long? rows)
            {
                var (graph, parameters) = Adapted(given, rows);
                MergeProjections.Apply(graph);
                if (rows is null) return graph;
                var target = graph.Input("target", ElementType.Float, [rows.Value, .. given.Inputs["target"].Dims.Skip(1)]);
                return TrainingGraph.Finish(Mean(Square(graph.Outputs[0] - target)), parameters, settings.Gradients);
            }
        }

        public void Once() => _workers.RunEach(_workers.Count, (rows, _) => rows.Run());

        public (double?, double?) Compare(UNetCase given)
        {
            if (given.Expected is not { } expected) return (null, null);
            var all = Enumerable.Range(0, _workers.Count).Select(i => _workers[i]).ToArray();
            if (_work == UNetWork.Forward) return (Deviation([.. all.SelectMany(r => r.Outputs["out_sample"])], expected["out_sample"]), null);
            var loss = Deviation([all.Average(r => r.Outputs["loss"][0])], expected["loss"]);
            return (loss, _adapters.Names.Max(n => Deviation(MeanOf([.. all.Select(r => r.Gradients[n].ToArray())]), expected["grad." + n])));
        }

        public void Dispose()
        {
            _workers.Dispose();
            _adapters.Dispose();
        }

        private static (OnnxGraph, Value[]) Adapted(UNetCase given, long? rows)
        {
            var (sample, states) = (given.Inputs["sample"].Dims, given.Inputs["encoder_hidden_states"].Dims);
            var graph = rows is null ? UNet2DConditionModel.Build(given.Config, given.Weights)
                : UNet2DConditionModel.Build(given.Config, given.Weights, rows.Value, sample[2], sample[3], states[1]);
            return (graph, [.. InjectLora.Apply(graph, Lora).SelectMany(l => new[] { l.A, l.B })]);
        }

        // The loss is a mean over the batch, so its gradient is the mean of the workers' gradients.
        private static float[] MeanOf(float[][] parts) => [.. parts[0].Select((_, i) => parts.Average(p => p[i]))];

        private static double Deviation(ReadOnlySpan<float> ours, Tensor expected)
        {
            var theirs = expected.ToFloats();
            if (ours.Length != theirs.Length) throw new UserError($"bench.safetensors: expected a tensor of {ours.Length} elements, got {expected}");
            var (error, size) = (0.0, 0.0);
            for (var i = 0; i < ours.Length; i++) (error, size) = (Math.Max(error, Math.Abs((double)ours[i] - theirs[i])), Math.Max(size, Math.Abs(theirs[i])));
            return error / size;
        }
    }

    /// <summary>A worker's session, and its rows of the inputs.</summary>
    private sealed class Rows : IDisposable
    {
        private readonly GraphSession _session;
        private readonly (string Name, OrtValue Value)[] _inputs;

        public Rows(OnnxGraph graph, ParameterBuffer adapters, UNetWork work, UNetCase given, int number, long rows, SessionSettings settings)
        {
            Gradients = adapters.Like();
            _session = new GraphSession(graph, settings).Bind(adapters);
            if (work == UNetWork.ForwardBackward) _session.BindOutputs(Gradients, TrainingGraph.GradientSuffix);
            var timesteps = Enumerable.Repeat(given.Timestep, (int)rows).ToArray();
            _inputs = [.. _session.Inputs.Where(n => n != "timestep" && !adapters.Names.Contains(n)).Select(n => (n, Of(given.Inputs[n]))), ("timestep", timesteps.ToOrt(timesteps.Length))];

            OrtValue Of(Tensor input)
            {
                var length = (int)(input.Count / input.Dims[0] * rows);
                return input.ToFloats().AsSpan(number * length, length).ToArray().ToOrt([rows, .. input.Dims[1..]]);
            }
        }

        public ParameterBuffer Gradients { get; }

        public Dictionary<string, float[]> Outputs { get; private set; } = [];

        public void Run() => Outputs = _session.Run(_inputs);

        public void Dispose()
        {
            _session.Dispose();
            foreach (var (_, value) in _inputs) value.Dispose();
            Gradients.Dispose();
        }
    }
}
