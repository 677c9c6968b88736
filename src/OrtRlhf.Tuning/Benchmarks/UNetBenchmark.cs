using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Metrics;
using static OrtRlhf.Graph.Expressions.Functions;
using Tensor = OrtRlhf.Graph.Tensor;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>What is timed.</summary>
public enum UNetWork
{
    /// <summary>Inference, as the sampler does it: a graph of any batch size.</summary>
    Forward,

    /// <summary>Mean squared error and the gradients of all adapters, as the trainer does it: a graph of one batch size.</summary>
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
public sealed record UNetTiming(double MedianMs, double MinMs, double PeakMb, double AfterLoadMb, double IdleMb, double? Deviation,
    double? GradientDeviation);

/// <summary>
/// Times a U-Net with rank-4 adapters on to_q, to_k, to_v and to_out.0. Its folder is what <c>tools/Peers/bench_unet.py</c> writes: weights
/// and config.json,
/// lora.safetensors, bench.safetensors with inputs, output, loss and gradients. Without one it is a U-Net of the same 35M parameters with
/// random weights.
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

    private sealed class Loaded : IDisposable
    {
        private readonly UNetWork _work;
        private readonly ParameterBuffer _adapters, _gradients;
        private readonly Worker[] _parts;
        private readonly WorkerPool<Worker> _workers;
        private readonly Dictionary<string, float[]>[] _outputs;

        public Loaded(UNetCase given, UNetWork work, SessionSettings settings)
        {
            _work = work;
            var sample = given.Inputs["sample"].Dims;
            var train = work == UNetWork.ForwardBackward;
            var (each, count) = settings.Split(Graph(given, null).Graph, (int)sample[0]);
            if (sample[0] % count != 0) throw new UserError(
                $"bench.safetensors: expected a number of rows that {count} workers divide, got {sample[0]}");
            var (graph, layers) = Graph(given, train ? sample[0] / count : null);
            Value[] parameters = [.. layers.SelectMany(l => new[] { l.A, l.B })];
            _adapters = new ParameterBuffer([.. parameters.Select(p => (p.Name, p.Data!.Dims))]);
            _adapters.Load(given.Adapter);
            if (train)
            {
                var target = graph.Input("target", ElementType.Float, [sample[0] / count, .. sample.Skip(1).Select(d => (Dim)d)]);
                TrainingGraph.Finish(Mean(Square(graph.Outputs[0] - target)), parameters, settings.Gradients);
            }
            _gradients = _adapters.Like();
            _parts = [.. GraphSession.Load(graph, each, count).Select((session, i) => new Worker(session, _adapters, given, i, count))];
            (_workers, _outputs) = (new(_parts), new Dictionary<string, float[]>[count]);
        }

        private static (OnnxGraph Graph, IReadOnlyList<LoraLayer> Layers) Graph(UNetCase given, long? batch)
        {
            var (sample, states) = (given.Inputs["sample"].Dims, given.Inputs["encoder_hidden_states"].Dims);
            var graph = UNet2DConditionModel.Build(given.Config, given.Weights, batch, sample[2], sample[3], states[1]);
            return (graph, InjectLora.Apply(graph, Lora));
        }

        public void Once()
        {
            _workers.RunEach(_parts.Length, (worker, i) => _outputs[i] = worker.Run());
            if (_work == UNetWork.Forward) return;
            _gradients.All.Clear();
            foreach (var part in _parts) TensorPrimitives.MultiplyAdd(part.Gradients.All, 1f / _parts.Length, _gradients.All,
                _gradients.All);
        }

        public (double?, double?) Compare(UNetCase given)
        {
            if (given.Expected is not { } expected) return (null, null);
            if (_work == UNetWork.Forward) return (Deviation([.. _outputs.SelectMany(o => o["out_sample"])], expected["out_sample"]), null);
            return (Deviation([_outputs.Average(o => o["loss"][0])], expected["loss"]),
                _gradients.Names.Max(n => Deviation(_gradients[n], expected["grad." + n])));
        }

        public void Dispose()
        {
            _workers.Dispose();
            _adapters.Dispose();
            _gradients.Dispose();
        }

        private static double Deviation(ReadOnlySpan<float> ours, Tensor expected)
        {
            var theirs = expected.ToFloats();
            if (ours.Length != theirs.Length) throw new UserError(
                $"bench.safetensors: expected a tensor of {ours.Length} elements, got {expected}");
            var (error, size) = (0.0, 0.0);
            for (var i = 0; i < ours.Length; i++) (error, size) = (Math.Max(error, Math.Abs((double)ours[i] - theirs[i])),
                Math.Max(size, Math.Abs(theirs[i])));
            return error / size;
        }
    }

    /// <summary>A worker's part of the inputs, and its gradients.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly GraphSession _session;
        private readonly (string Name, OrtValue Value)[] _inputs;

        public Worker(GraphSession session, ParameterBuffer adapters, UNetCase given, int part, int parts)
        {
            Gradients = adapters.Like();
            _session = session.Bind(adapters).BindOutputs(Gradients, TrainingGraph.GradientSuffix);
            var rows = given.Inputs["sample"].Dims[0] / parts;
            var timesteps = Enumerable.Repeat(given.Timestep, (int)rows).ToArray();
            _inputs = [.. session.Inputs.Where(n => n != "timestep" && !adapters.Names.Contains(n)).Select(n =>
                (n, Part(given.Inputs[n]))), ("timestep", timesteps.ToOrt(rows))];

            OrtValue Part(Tensor whole)
            {
                var length = (int)(whole.Count / parts);
                return whole.ToFloats().AsSpan(part * length, length).ToArray().ToOrt([rows, .. whole.Dims[1..]]);
            }
        }

        public ParameterBuffer Gradients { get; }

        public Dictionary<string, float[]> Run() => _session.Run(_inputs);

        public void Dispose()
        {
            _session.Dispose();
            foreach (var (_, value) in _inputs) value.Dispose();
            Gradients.Dispose();
        }
    }
}
