using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Algorithms;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Tuning.Sampling;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Means of a graph's scalar outputs over transitions, and the largest deviation of the ratio from 1.</summary>
/// <param name="Means">Mean of each scalar by its output's name; <c>loss</c> among them.</param>
/// <param name="RatioDeviation">Largest |ratio - 1|.</param>
public sealed record StepMetrics(IReadOnlyDictionary<string, double> Means, double RatioDeviation);

/// <summary>
/// Gradients of a policy-gradient loss over any number of transitions, a micro-batch at a time through a training graph of fixed shape, of which each worker has
/// a session; the last micro-batch is filled up with transitions of advantage 0. Gradients are summed in the order of the transitions.
/// </summary>
public sealed class PolicyGradientStep : IDisposable
{
    private readonly int _batch;
    private readonly TextEmbeddings _text;
    private readonly WorkerPool<Worker> _workers;
    private readonly LossScale? _scale;

    /// <summary>Builds the training graph and loads it.</summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="table">The sampler that the trajectories come from.</param>
    /// <param name="text">Embeddings of the prompts.</param>
    /// <param name="guidanceScale">The guidance that the trajectories were sampled with.</param>
    /// <param name="microBatch">Transitions that the workers run together.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="settings">Device, threads, workers.</param>
    /// <exception cref="UserError">The graph cannot be differentiated or run.</exception>
    public PolicyGradientStep(
        Policy policy, SamplerTable table, TextEmbeddings text, double guidanceScale, int microBatch, Func<PolicyTransition, TrainingLoss> loss, SessionSettings settings)
    {
        _text = text;
        _scale = policy.Model.Dtype == Precision.Fp16 ? new() : null;
        var (each, count) = settings.Split(policy.Denoiser("batch").Graph);
        count = Math.Min(count, microBatch);
        _batch = (microBatch + count - 1) / count;
        var graph = PolicyGradientGraph.Build(policy, _batch, guidanceScale, loss, settings.Gradients);
        _workers = new([.. Enumerable.Range(0, count).Select(_ => new Worker(graph, policy, table, text, guidanceScale != 1, _batch, each))]);
    }

    /// <summary>Adds the gradient of the mean loss over all transitions, times a weight, to a sum.</summary>
    /// <param name="transitions">At least one.</param>
    /// <param name="sum">Receives the gradient.</param>
    /// <param name="weight">What the mean is multiplied by.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    /// <exception cref="OperationCanceledException">Cancelled; the sum is then incomplete.</exception>
    public StepMetrics Accumulate(IReadOnlyList<Transition> transitions, Gradients sum, double weight = 1, CancellationToken cancellation = default)
    {
        _text.Add(transitions.Select(t => t.Trajectory.Request.Prompt));
        var means = new SortedDictionary<string, double>(StringComparer.Ordinal);
        var deviation = 0.0;
        foreach (var round in transitions.Chunk(_batch).Chunk(_workers.Count))
        {
            cancellation.ThrowIfCancellationRequested();
            var results = new (Worker Worker, Dictionary<string, float[]> Outputs)[round.Length];
            double scale;
            do
            {
                scale = _scale?.Value ?? 1;
                _workers.RunEach(round.Length, (worker, i) => results[i] = (worker, worker.Run(round[i], (float)scale)));
            }
            while (_scale is not null && !_scale.Accept(results.All(r => r.Worker.IsFinite)));
            foreach (var (part, (worker, outputs)) in round.Zip(results))
            {
                sum.Add(worker.Gradients.All, weight * _batch / transitions.Count / scale);
                foreach (var (name, values) in outputs)
                {
                    if (values.Length != 1) continue;
                    if (name == "ratio_deviation") deviation = Math.Max(deviation, values[0]);
                    // What fills the last batch up adds nothing to its loss, and what it is a copy of to other means.
                    else means[name] = means.GetValueOrDefault(name) + (values[0] * (double)(name == "loss" ? _batch / scale : part.Length) / transitions.Count);
                }
            }
            if (!double.IsFinite(means["loss"]) || double.IsNaN(deviation))
                throw new UserError($"loss: expected a finite number, got {means["loss"]}; lower --learning-rate; the last checkpoint is intact");
        }
        return new StepMetrics(means, deviation);
    }

    /// <summary>
    /// Takes the log-probabilities of transitions anew, by the training graph, and keeps them as those of the policy that drew them. In halves the sampler's graph
    /// rounds so differently that ratios would begin percents away from 1.
    /// </summary>
    /// <param name="transitions">Transitions of the policy as it is now.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    public void Rescore(IReadOnlyList<Transition> transitions, CancellationToken cancellation)
    {
        _text.Add(transitions.Select(t => t.Trajectory.Request.Prompt));
        foreach (var round in transitions.Chunk(_batch).Chunk(_workers.Count))
        {
            cancellation.ThrowIfCancellationRequested();
            _workers.RunEach(round.Length, (worker, i) =>
            {
                var logp = worker.Run(round[i], 1)["log_prob"];
                for (var row = 0; row < round[i].Length; row++) round[i][row].Trajectory.LogProbs[round[i][row].Step] = logp[row];
            });
        }
    }

    /// <summary>Begins an epoch: what a run that is resumed here does not know is forgotten.</summary>
    public void Reset() => _scale?.Reset();

    /// <inheritdoc/>
    public void Dispose() => _workers.Dispose();

    /// <summary>A session of the training graph with its inputs and gradients.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly int _batch;
        private readonly SamplerTable _table;
        private readonly LatentSize _latent;
        private readonly TextEmbeddings _text;
        private readonly GraphSession _session;
        private readonly GuidedDenoiser.Batch _model;
        private readonly float[] _scale = new float[1], _next, _cx, _cm, _sigma, _old, _advantage;
        private readonly (string, OrtValue)[] _inputs;

        public Worker(OnnxGraph graph, Policy policy, SamplerTable table, TextEmbeddings text, bool guided, int batch, SessionSettings settings)
        {
            (_batch, _table, _latent, _text) = (batch, table, policy.Model.Latent, text);
            Gradients = policy.Adapters.Like();
            _session = new GraphSession(graph, settings).Bind(policy.Adapters).BindOutputs(Gradients, TrainingGraph.GradientSuffix);
            _model = new GuidedDenoiser.Batch(batch, guided, _latent, text);
            _next = new float[batch * _latent.Count];
            (_cx, _cm, _sigma, _old, _advantage) = (new float[batch], new float[batch], new float[batch], new float[batch], new float[batch]);
            _inputs =
            [
                .. _model.Inputs,
                ("next_sample", _next.ToOrt(batch, _latent.Channels, _latent.Height, _latent.Width)),
                ("c_x", _cx.ToOrt(batch)), ("c_m", _cm.ToOrt(batch)), ("sigma", _sigma.ToOrt(batch)),
                ("old_log_prob", _old.ToOrt(batch)), ("advantage", _advantage.ToOrt(batch)), (PolicyGradientGraph.LossScale, _scale.ToOrt()),
            ];
            var known = _session.Inputs.ToHashSet(StringComparer.Ordinal);
            _inputs = [.. _inputs.Where(i => known.Contains(i.Item1))];
        }

        public ParameterBuffer Gradients { get; }

        /// <summary>Whether the gradients are; NaN and infinities carry into a sum.</summary>
        public bool IsFinite => float.IsFinite(System.Numerics.Tensors.TensorPrimitives.SumOfMagnitudes<float>(Gradients.All));

        public Dictionary<string, float[]> Run(Transition[] part, float scale)
        {
            _scale[0] = scale;
            Fill(part);
            return _session.Run(_inputs);
        }

        public void Dispose()
        {
            _session.Dispose();
            foreach (var (_, value) in _inputs) value.Dispose();
            Gradients.Dispose();
        }

        private void Fill(Transition[] part)
        {
            var length = _latent.Count;
            var (x, timesteps, prompts) = (new float[_batch * length], new double[_batch], new string[_batch]);
            for (var i = 0; i < _batch; i++)
            {
                var (trajectory, s, advantage) = part[Math.Min(i, part.Length - 1)];
                var step = _table.Steps[s];
                trajectory.Latent(s).Span.CopyTo(x.AsSpan(i * length));
                trajectory.Latent(s + 1).Span.CopyTo(_next.AsSpan(i * length));
                (timesteps[i], prompts[i]) = (step.Time, trajectory.Request.Prompt);
                (_cx[i], _cm[i], _sigma[i]) = ((float)step.CX, (float)step.CM, (float)step.Sigma);
                (_old[i], _advantage[i]) = ((float)trajectory.LogProbs[s], i < part.Length ? advantage : 0);
            }
            _model.Fill(x, timesteps, prompts, _text);
        }
    }
}
