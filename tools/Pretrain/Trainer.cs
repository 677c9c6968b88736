using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning.Optimizers;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace OrtRlhf.Pretrain;

/// <summary>Gives the inputs of a training step; the numbers of the batches are unique over all workers.</summary>
internal delegate (string Name, OrtValue Value)[] NextBatch(ulong batch);

/// <summary>
/// Trains all parameters of a graph, matrices with Muon and the rest with AdamW. Workers with a session of one thread each compute the
/// gradients of
/// their own batch; when all are ready the mean is applied, to which each contributes the steps of some of the matrices. The learning rate
/// follows the clock.
/// </summary>
internal sealed class Trainer
{
    private const int EmaEvery = 4;
    private readonly TrainingOptions _options;
    private readonly string _part;
    private readonly Func<OnnxGraph> _graph;
    private readonly ParameterBuffer _parameters, _momenta, _steps;
    private readonly ParameterBuffer[] _gradients;
    private readonly float[] _momentum;
    private readonly AdamW _optimizer;
    private readonly Lock _gate = new();
    private ExponentialMovingAverage _average;
    private double _earlier;
    private ulong _batches;
    private double _sum;
    private int _count;

    /// <summary>Prepares a training, or takes up one that broke off.</summary>
    /// <param name="part">Name of the state's file.</param>
    /// <param name="options">Options.</param>
    /// <param name="graph">Builds the training graph; its parameters' defaults are where a new training starts.</param>
    public Trainer(string part, TrainingOptions options,
        Func<(OnnxGraph Graph, IReadOnlyList<Value> Parameters, Func<OnnxGraph> Finish)> graph)
    {
        (_part, _options) = (part, options);
        var first = graph();
        _parameters = new ParameterBuffer([.. first.Parameters.Select(p => (p.Name, p.Data!.Dims)).OrderBy(p =>
            !Muon.Takes(p.Name, p.Dims))]);
        _momenta = new ParameterBuffer([.. _parameters.Layout.Where(p => Muon.Takes(p.Name, p.Shape))]);
        _steps = _momenta.Like();
        _gradients = [.. Enumerable.Range(0, options.Workers).Select(_ => _parameters.Like())];
        _momentum = new float[_momenta.All.Length];
        var initial = first.Parameters.ToDictionary(p => p.Name, p => p.Data!);
        _parameters.Load((name, _) => initial[name]);
        _graph = () => graph().Finish();
        _optimizer = new AdamW(_parameters.All.Length - _momentum.Length, new AdamWOptions { Beta2 = 0.99, WeightDecay = 1e-4 });
        _average = Average();
        if (File.Exists(StatePath)) Restore();
        Console.WriteLine($"{part}: {_parameters.Count():N0} parameters, {_earlier:F1} of {options.Minutes} minutes done");
    }

    private string StatePath => _options.Output.TrimEnd('/') + $".{_part}.state.safetensors";

    /// <summary>Trains until the time is over or a stop is asked for.</summary>
    /// <param name="batches">Makes the source of batches of one worker.</param>
    /// <param name="save">Writes the averaged weights, every two minutes and at the end.</param>
    /// <param name="cancellation">Stops after the step under way.</param>
    public void Run(Func<int, NextBatch> batches, Action<IReadOnlyDictionary<string, Tensor>> save, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var done = false;
        using var ready = new Barrier(_options.Workers, _ => Gather(clock));
        using var stepped = new Barrier(_options.Workers, _ => done = Apply(clock) || cancellation.IsCancellationRequested);
        var threads = Enumerable.Range(0, _options.Workers)
            .Select(i => new Thread(() => Work(i, batches(i), ready, stepped, () => done), 16 << 20) { Name = $"worker-{i}" }).ToArray();
        foreach (var thread in threads) thread.Start();
        var (seen, saved, reported) = (_optimizer.StepCount, TimeSpan.Zero, TimeSpan.Zero);
        while (threads.Any(t => t.IsAlive))
        {
            Thread.Sleep(500);
            if (clock.Elapsed - reported >= TimeSpan.FromSeconds(20))
            {
                lock (_gate)
                {
                    var rate = (_optimizer.StepCount - seen) * _options.BatchSize
                        * _options.Workers / (clock.Elapsed - reported).TotalSeconds;
                    Console.WriteLine($"{Elapsed(clock),6:F1} min  step {_optimizer.StepCount,6}  loss {_sum / Math.Max(1, _count):F5}  "
                        + $"{rate:F0} samples/s");
                    (seen, reported, _sum, _count) = (_optimizer.StepCount, clock.Elapsed, 0, 0);
                }
            }
            if (clock.Elapsed - saved >= TimeSpan.FromMinutes(2))
            {
                saved = clock.Elapsed;
                Save(save, clock);
            }
        }
        Save(save, clock);
    }

    private void Work(int worker, NextBatch next, Barrier ready, Barrier stepped, Func<bool> done)
    {
        using var session = new GraphSession(_graph(), new SessionSettings { Threads = 1 })
            .Bind(_parameters).BindOutputs(_gradients[worker], TrainingGraph.GradientSuffix);
        using var muon = Muon.Session([.. _momenta.Layout.Where((_, i) => i % _options.Workers == worker)]).Bind(_momenta)
            .BindOutputs(_steps, Muon.Suffix);
        while (!done())
        {
            var loss = session.Run(next(Interlocked.Increment(ref _batches)))["loss"][0];
            lock (_gate) (_sum, _count) = (_sum + loss, _count + 1);
            ready.SignalAndWait();
            muon.Run();
            stepped.SignalAndWait();
        }
    }

    // The sum of the gradients, clipped (its scale is nothing to either optimizer), and the momenta with Nesterov's look ahead.
    private void Gather(Stopwatch clock)
    {
        var gradient = _gradients[0].All;
        foreach (var other in _gradients.Skip(1)) TensorPrimitives.Add(gradient, other.All, gradient);
        Gradients.ClipByGlobalNorm(gradient, _options.Workers);
        var matrices = gradient[.._momentum.Length];
        lock (_gate)
        {
            TensorPrimitives.MultiplyAdd(_momentum, (float)Muon.Momentum, matrices, _momentum);
            TensorPrimitives.MultiplyAdd(_momentum, (float)Muon.Momentum, matrices, _momenta.All);
            _optimizer.Step(_parameters.All[_momentum.Length..], gradient[_momentum.Length..], Rate(clock));
        }
    }

    private bool Apply(Stopwatch clock)
    {
        lock (_gate)
        {
            var matrices = _parameters.All[.._momentum.Length];
            TensorPrimitives.MultiplyAdd(_steps.All, (float)-Rate(clock), matrices, matrices);
            if (_optimizer.StepCount % EmaEvery == 0) _average.Update(_parameters.All);
        }
        return Elapsed(clock) >= _options.Minutes;
    }

    private double Elapsed(Stopwatch clock) => _earlier + clock.Elapsed.TotalMinutes;

    private double Rate(Stopwatch clock)
    {
        var done = Math.Clamp(((Elapsed(clock) / _options.Minutes) - _options.DecayFrom) / (1 - _options.DecayFrom), 0, 1);
        var left = 0.02 + (0.98 * (1 + Math.Cos(Math.PI * done)) / 2);
        return _options.LearningRate * left * Math.Min(1, (_optimizer.StepCount + 1.0) / Math.Max(1, _options.WarmUp));
    }

    private ExponentialMovingAverage Average() => new(_parameters.All, Math.Pow(_options.Ema, EmaEvery), warmUp: true);

    private void Save(Action<IReadOnlyDictionary<string, Tensor>> save, Stopwatch clock)
    {
        float[] now, average, momentum;
        Dictionary<string, float[]> state;
        lock (_gate)
        {
            (now, average, momentum) = (_parameters.All.ToArray(), _average.Values.ToArray(), _momentum.ToArray());
            state = _optimizer.Snapshot().Concat(_average.Snapshot()).ToDictionary();
        }
        state["parameters"] = now;
        state["momentum"] = momentum;
        state["minutes"] = [(float)Elapsed(clock)];
        state["batches"] = [_batches];
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(StatePath))!);
        SafetensorsFile.Write(StatePath, state.Select(p => KeyValuePair.Create(p.Key, Tensor.Of(p.Value, p.Value.Length))));
        using var averaged = _parameters.Like();
        average.CopyTo(averaged.All);
        save(averaged.ToTensors());
    }

    private void Restore()
    {
        var state = SafetensorsFile.Open(StatePath).Tensors.ToDictionary(p => p.Key, p => p.Value.ToFloats());
        if (!state.ContainsKey("momentum")) throw new UserError(
            $"'{StatePath}' is of an earlier version, without momenta; delete it to go on from the weights that are there");
        if (state["parameters"].Length != _parameters.All.Length)
            throw new UserError($"'{StatePath}' is of a training with {state["parameters"].Length} parameters, this one has "
                + $"{_parameters.All.Length}; delete the file to start anew");
        state["parameters"].CopyTo(_parameters.All);
        state["momentum"].CopyTo(_momentum, 0);
        _average = Average();
        _optimizer.Restore(state);
        _average.Restore(state);
        (_earlier, _batches) = (state["minutes"][0], (ulong)state["batches"][0]);
    }
}
