using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Pretrain;

/// <summary>Gives the inputs of a training step; the numbers of the batches are unique over all workers.</summary>
internal delegate (string Name, OrtValue Value)[] NextBatch(ulong batch);

/// <summary>
/// Trains all parameters of a graph with AdamW. Each worker has a session of one thread and a copy of the parameters; it takes its gradient to
/// the shared ones when it is ready, so that no worker waits for another. The learning rate follows the clock.
/// </summary>
internal sealed class Trainer
{
    private const int WarmUp = 200;
    private const int EmaEvery = 4;
    private readonly TrainingOptions _options;
    private readonly string _part;
    private readonly Func<OnnxGraph> _graph;
    private readonly ParameterBuffer _parameters;
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
    public Trainer(string part, TrainingOptions options, Func<(OnnxGraph Graph, IReadOnlyList<Value> Parameters, Func<OnnxGraph> Finish)> graph)
    {
        (_part, _options) = (part, options);
        var first = graph();
        _parameters = new ParameterBuffer([.. first.Parameters.Select(p => (p.Name, p.Data!.Dims))]);
        var initial = first.Parameters.ToDictionary(p => p.Name, p => p.Data!);
        _parameters.Load((name, _) => initial[name]);
        _graph = () => graph().Finish();
        _optimizer = new AdamW(_parameters.All.Length, new AdamWOptions { Beta2 = 0.99, WeightDecay = 1e-4 });
        _average = Average();
        if (File.Exists(StatePath)) Restore();
        Console.WriteLine($"{part}: {_parameters.Count():N0} parameters, {_earlier:F1} of {options.Minutes} minutes done");
    }

    private string StatePath => _options.Output.TrimEnd('/') + $".{_part}.state.safetensors";

    /// <summary>Trains until the time is over or a stop is asked for.</summary>
    /// <param name="batches">Makes the source of batches of one worker.</param>
    /// <param name="save">Writes the averaged weights, every two minutes and at the end.</param>
    /// <param name="cancellation">Stops after the steps under way.</param>
    public void Run(Func<int, NextBatch> batches, Action<IReadOnlyDictionary<string, Tensor>> save, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var threads = Enumerable.Range(0, _options.Workers)
            .Select(i => new Thread(() => Work(batches(i), clock, cancellation), 16 << 20) { Name = $"worker-{i}" }).ToArray();
        foreach (var thread in threads) thread.Start();
        var (seen, saved, reported) = (_optimizer.StepCount, TimeSpan.Zero, TimeSpan.Zero);
        while (threads.Any(t => t.IsAlive))
        {
            Thread.Sleep(500);
            if (clock.Elapsed - reported >= TimeSpan.FromSeconds(20))
            {
                lock (_gate)
                {
                    var rate = (_optimizer.StepCount - seen) * _options.BatchSize / (clock.Elapsed - reported).TotalSeconds;
                    Console.WriteLine($"{Elapsed(clock),6:F1} min  step {_optimizer.StepCount,6}  loss {_sum / Math.Max(1, _count):F5}  {rate:F0} samples/s");
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

    private void Work(NextBatch next, Stopwatch clock, CancellationToken cancellation)
    {
        using var parameters = _parameters.Like();
        using var gradients = _parameters.Like();
        using var session = new GraphSession(_graph(), new SessionSettings { Threads = 1 }).Bind(parameters).BindOutputs(gradients, TrainingGraph.GradientSuffix);
        Copy(parameters);
        while (Elapsed(clock) < _options.Minutes && !cancellation.IsCancellationRequested)
        {
            var loss = session.Run(next(Interlocked.Increment(ref _batches)))["loss"][0];
            Gradients.ClipByGlobalNorm(gradients.All, 1);
            lock (_gate)
            {
                _optimizer.Step(_parameters.All, gradients.All, Rate(clock));
                if (_optimizer.StepCount % EmaEvery == 0) _average.Update(_parameters.All);
                _parameters.All.CopyTo(parameters.All);
                (_sum, _count) = (_sum + loss, _count + 1);
            }
        }
    }

    private void Copy(ParameterBuffer target)
    {
        lock (_gate) _parameters.All.CopyTo(target.All);
    }

    private double Elapsed(Stopwatch clock) => _earlier + clock.Elapsed.TotalMinutes;

    private double Rate(Stopwatch clock)
    {
        var done = Math.Clamp(((Elapsed(clock) / _options.Minutes) - _options.DecayFrom) / (1 - _options.DecayFrom), 0, 1);
        var left = 0.02 + (0.98 * (1 + Math.Cos(Math.PI * done)) / 2);
        return _options.LearningRate * left * Math.Min(1, (_optimizer.StepCount + 1.0) / WarmUp);
    }

    private ExponentialMovingAverage Average() => new(_parameters.All, Math.Pow(_options.Ema, EmaEvery), warmUp: true);

    private void Save(Action<IReadOnlyDictionary<string, Tensor>> save, Stopwatch clock)
    {
        float[] now, average;
        Dictionary<string, float[]> state;
        lock (_gate)
        {
            (now, average) = (_parameters.All.ToArray(), _average.Values.ToArray());
            state = _optimizer.Snapshot().Concat(_average.Snapshot()).ToDictionary();
        }
        state["parameters"] = now;
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
        if (state["parameters"].Length != _parameters.All.Length)
            throw new UserError($"'{StatePath}' is of a training with {state["parameters"].Length} parameters, this one has {_parameters.All.Length}; delete the file to start anew");
        state["parameters"].CopyTo(_parameters.All);
        _average = Average();
        _optimizer.Restore(state);
        _average.Restore(state);
        (_earlier, _batches) = (state["minutes"][0], (ulong)state["batches"][0]);
    }
}
