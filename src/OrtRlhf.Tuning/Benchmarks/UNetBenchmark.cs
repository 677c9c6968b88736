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

    private sealed class Loaded : IDisposable
    {
        private readonly UNetWork _work;
        private readonly ParameterBuffer _adapters, _gradients;
        private readonly GraphSession _session;
        private readonly (string Name, OrtValue Value)[] _inputs;
        private Dictionary<string, float[]> _outputs = [];

        public Loaded(UNetCase given, UNetWork work, SessionSettings settings)
        {
            _work = work;
            var (sample, states) = (given.Inputs["sample"].Dims, given.Inputs["encoder_hidden_states"].Dims);
            var train = work == UNetWork.ForwardBackward;
            var graph = UNet2DConditionModel.Build(given.Config, given.Weights, train ? sample[0] : null, sample[2], sample[3], states[1]);
            Value[] parameters = [.. InjectLora.Apply(graph, Lora).SelectMany(l => new[] { l.A, l.B })];
            MergeProjections.Apply(graph);
            _adapters = new ParameterBuffer([.. parameters.Select(p => (p.Name, p.Data!.Dims))]);
            _adapters.Load(given.Adapter);
            _gradients = _adapters.Like();
            if (train)
            {
                var target = graph.Input("target", ElementType.Float, [.. sample.Select(d => (Dim)d)]);
                TrainingGraph.Finish(Mean(Square(graph.Outputs[0] - target)), parameters, settings.Gradients);
            }
            _session = new GraphSession(graph, settings).Bind(_adapters);
            if (train) _session.BindOutputs(_gradients, TrainingGraph.GradientSuffix);
            var timesteps = Enumerable.Repeat(given.Timestep, (int)sample[0]).ToArray();
            _inputs = [.. _session.Inputs.Where(n => n != "timestep" && !_adapters.Names.Contains(n)).Select(n => (n, given.Inputs[n].ToFloats().ToOrt(given.Inputs[n].Dims))), ("timestep", timesteps.ToOrt(timesteps.Length))];
        }

        public void Once() => _outputs = _session.Run(_inputs);

        public (double?, double?) Compare(UNetCase given) => given.Expected is not { } expected ? (null, null)
            : _work == UNetWork.Forward ? (Deviation(_outputs["out_sample"], expected["out_sample"]), null)
            : (Deviation(_outputs["loss"], expected["loss"]), _gradients.Names.Max(n => Deviation(_gradients[n], expected["grad." + n])));

        public void Dispose()
        {
            _session.Dispose();
            foreach (var (_, value) in _inputs) value.Dispose();
            _adapters.Dispose();
            _gradients.Dispose();
        }

        private static double Deviation(ReadOnlySpan<float> ours, Tensor expected)
        {
            var theirs = expected.ToFloats();
            if (ours.Length != theirs.Length) throw new UserError($"bench.safetensors: expected a tensor of {ours.Length} elements, got {expected}");
            var (error, size) = (0.0, 0.0);
            for (var i = 0; i < ours.Length; i++) (error, size) = (Math.Max(error, Math.Abs((double)ours[i] - theirs[i])), Math.Max(size, Math.Abs(theirs[i])));
            return error / size;
        }
    }
}
