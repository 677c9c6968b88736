using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Tuning.Training;

/// <summary>Means of a graph's scalar outputs over rows, and the largest deviation of the ratio from 1.</summary>
/// <param name="Means">Mean of each scalar by its output's name; <c>loss</c> among them.</param>
/// <param name="RatioDeviation">Largest |ratio - 1|; 0 of a graph without one.</param>
public sealed record StepMetrics(IReadOnlyDictionary<string, double> Means, double RatioDeviation);

/// <summary>A row of a training graph.</summary>
/// <param name="At">Where the denoiser is evaluated.</param>
/// <param name="Fields">The method's fields: a number for each place of their inputs' rows.</param>
public sealed record TrainingRow(NoisyLatent At, params IReadOnlyList<(string Name, ReadOnlyMemory<float> Values)> Fields)
{
    /// <summary>A field of one number.</summary>
    public static (string, ReadOnlyMemory<float>) Number(string name, double value) => (name, new[] { (float)value });
}

/// <summary>
/// Gradients of a loss over any number of rows, a micro-batch at a time through a training graph of fixed shape, of which each worker has a
/// session; the last
/// micro-batch is filled up with rows whose weight is 0. Which worker runs which micro-batch is fixed, and so is the order of all sums.
/// </summary>
public sealed class TrainingStep : IDisposable
{
    private readonly int _batch;
    private readonly bool _paired;
    private readonly TextEmbeddings _text;
    private readonly WorkerPool<Worker> _workers;
    private readonly LossScale? _scale;

    /// <summary>Builds the training graph and loads it.</summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="text">Embeddings of the prompts.</param>
    /// <param name="guided">Whether the graph runs each row without the prompt, too.</param>
    /// <param name="microBatch">Rows that the workers run together.</param>
    /// <param name="weights">The fields that are 0 in rows which only fill up, where the graph has them: their loss and gradient are then
    /// 0.</param>
    /// <param name="build">Builds the graph for a number of rows, see <see cref="TrainingGraph"/>.</param>
    /// <param name="settings">Device, threads, workers.</param>
    /// <param name="paired">
    /// Whether rows are pairs, a preferred one and behind it the rejected one: a micro-batch then takes whole pairs, and its first half are
    /// the preferred ones.
    /// </param>
    /// <exception cref="UserError">The graph cannot be differentiated or run.</exception>
    public TrainingStep(
        Policy policy, TextEmbeddings text, bool guided, int microBatch, IReadOnlyList<string> weights, Func<int, OnnxGraph> build,
            SessionSettings settings, bool paired = false)
    {
        (_text, _paired) = (text, paired);
        _scale = policy.Model.Dtype == Precision.Fp16 ? new() : null;
        var (each, count) = settings.Split(policy.Denoiser("batch").Graph, microBatch);
        _batch = (microBatch + count - 1) / count;
        if (paired) _batch += _batch % 2;
        var graph = build(_batch);
        _workers = new([.. GraphSession.Load(graph, each, count).Select(session =>
            new Worker(session, graph, policy, text, guided, _batch, weights))]);
    }

    /// <summary>Adds the gradient of the mean loss over all rows, times a weight, to a sum.</summary>
    /// <param name="rows">At least one.</param>
    /// <param name="sum">Receives the gradient.</param>
    /// <param name="weight">What the mean is multiplied by.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    /// <exception cref="UserError">A loss that is not finite.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the sum is then incomplete.</exception>
    public StepMetrics Accumulate(IReadOnlyList<TrainingRow> rows, Gradients sum, double weight = 1,
        CancellationToken cancellation = default)
    {
        _text.Add(rows.Select(row => row.At.Prompt));
        var means = new SortedDictionary<string, double>(StringComparer.Ordinal);
        var deviation = 0.0;
        var parts = rows.Chunk(_batch).ToArray();
        // A worker takes every so-manyth micro-batch and waits for nobody, but where the loss scale may change behind each.
        foreach (var round in _scale is null ? [parts] : parts.Chunk(_workers.Count))
        {
            var (outputs, sums) = (new Dictionary<string, float[]>[round.Length], new Gradients?[_workers.Count]);
            double scale;
            do
            {
                scale = _scale?.Value ?? 1;
                _workers.RunEach(Math.Min(_workers.Count, round.Length), (worker, first) =>
                {
                    sums[first] = worker.Sum;
                    worker.Sum.Clear();
                    for (var i = first; i < round.Length; i += _workers.Count)
                    {
                        cancellation.ThrowIfCancellationRequested();
                        outputs[i] = worker.Run(Placed(round[i]), (float)scale);
                        worker.Sum.Add(worker.Gradients.All, 1);
                    }
                });
            }
            while (_scale is not null
                && !_scale.Accept(sums.All(s => s is null || float.IsFinite(TensorPrimitives.SumOfMagnitudes<float>(s.Values)))));
            foreach (var part in sums.OfType<Gradients>()) sum.Add(part.Values, weight * _batch / rows.Count / scale);
            foreach (var (part, results) in round.Zip(outputs))
            {
                foreach (var (name, values) in results)
                {
                    if (values.Length != 1) continue;
                    if (name == "ratio_deviation") deviation = Math.Max(deviation, values[0]);
                    // What fills the last batch up adds nothing to its loss, and what it is a copy of to other means.
                    else means[name] = means.GetValueOrDefault(name)
                        + (values[0] * (double)(name == "loss" ? _batch / scale : part.Length) / rows.Count);
                }
            }
            if (!double.IsFinite(means["loss"]) || double.IsNaN(deviation))
                throw new UserError(
                    $"loss: expected a finite number, got {means["loss"]}; lower `LearningRate`; the last checkpoint is intact");
        }
        return new StepMetrics(means, deviation);
    }

    /// <summary>An output of the graph that has a number a row.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="output">Its name.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    /// <returns>A number for each row.</returns>
    public float[] PerRow(IReadOnlyList<TrainingRow> rows, string output, CancellationToken cancellation)
    {
        _text.Add(rows.Select(row => row.At.Prompt));
        var result = new float[rows.Count];
        foreach (var (first, round) in rows.Chunk(_batch).Chunk(_workers.Count).Index())
        {
            cancellation.ThrowIfCancellationRequested();
            _workers.RunEach(round.Length, (worker, i) =>
            {
                var values = worker.Run(Placed(round[i]), 1)[output];
                for (var row = 0; row < _batch; row++)
                    if (Place(row) < round[i].Length) result[(((first * _workers.Count) + i) * _batch) + Place(row)] = values[row];
            });
        }
        return result;
    }

    private int Place(int row) => !_paired ? row : row < _batch / 2 ? 2 * row : (2 * (row - (_batch / 2))) + 1;

    // The rows in their places; what is missing at the end is the last row or pair once more, which does not count.
    private (TrainingRow Row, bool Counts)[] Placed(TrainingRow[] part) =>
    [
        .. Enumerable.Range(0, _batch).Select(Place).Select(place =>
            place < part.Length ? (part[place], true) : (part[part.Length - (_paired ? 2 - (place % 2) : 1)], false)),
    ];

    /// <summary>Begins an epoch: what a run that is resumed here does not know is forgotten.</summary>
    public void Reset() => _scale?.Reset();

    /// <inheritdoc/>
    public void Dispose() => _workers.Dispose();

    /// <summary>A session of the training graph with its inputs and gradients.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly int _batch;
        private readonly IReadOnlyList<string> _weights;
        private readonly LatentSize _latent;
        private readonly TextEmbeddings _text;
        private readonly GraphSession _session;
        private readonly GuidedDenoiser.Batch _model;
        private readonly Dictionary<string, float[]> _fields = new(StringComparer.Ordinal);
        private readonly (string Name, OrtValue Value)[] _inputs;

        public Worker(GraphSession session, OnnxGraph graph, Policy policy, TextEmbeddings text, bool guided, int batch,
            IReadOnlyList<string> weights)
        {
            (_batch, _weights, _latent, _text) = (batch, weights, policy.Model.Latent, text);
            Gradients = policy.Adapters.Like();
            Sum = new(Gradients.All.Length);
            _session = session.Bind(policy.Adapters).BindOutputs(Gradients, TrainingGraph.GradientSuffix);
            _model = new GuidedDenoiser.Batch(batch, guided, _latent, text);
            var known = _session.Inputs.ToHashSet(StringComparer.Ordinal);
            foreach (var input in _model.Inputs.Where(i => !known.Contains(i.Name))) input.Value.Dispose();
            _inputs = [.. _model.Inputs.Where(i => known.Contains(i.Name))];
            var others = known.Except(_inputs.Select(i => i.Name)).Except(policy.Adapters.Names).Order(StringComparer.Ordinal)
                .Select(name => (Name: name, graph[name].Shape!.Sizes)).ToArray();
            foreach (var (name, sizes) in others) _fields[name] = new float[sizes.Aggregate(1L, (a, b) => a * b)];
            _inputs = [.. _inputs, .. others.Select(field => (field.Name, _fields[field.Name].ToOrt(field.Sizes)))];
        }

        public ParameterBuffer Gradients { get; }

        /// <summary>What its gradients add up to.</summary>
        public Gradients Sum { get; }

        public Dictionary<string, float[]> Run((TrainingRow Row, bool Counts)[] rows, float scale)
        {
            if (_fields.TryGetValue(TrainingGraph.LossScale, out var factor)) factor[0] = scale;
            Fill(rows);
            return _session.Run(_inputs);
        }

        public void Dispose()
        {
            _session.Dispose();
            foreach (var (_, value) in _inputs) value.Dispose();
            Gradients.Dispose();
        }

        private void Fill((TrainingRow Row, bool Counts)[] rows)
        {
            var length = _latent.Count;
            var (x, times, prompts) = (new float[_batch * length], new double[_batch], new string[_batch]);
            for (var i = 0; i < _batch; i++)
            {
                var ((at, fields), counts) = rows[i];
                at.X.Span.CopyTo(x.AsSpan(i * length));
                (times[i], prompts[i]) = (at.Time, at.Prompt);
                foreach (var (name, values) in fields)
                    if (_fields.TryGetValue(name, out var field)) values.Span.CopyTo(field.AsSpan(i * values.Length));
                if (counts) continue;
                foreach (var name in _weights)
                    if (_fields.TryGetValue(name, out var weight)) weight[i] = 0;
            }
            _model.Fill(x, times, prompts, _text);
        }
    }
}
