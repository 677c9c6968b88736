using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Learning.Preferences;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Rewards.Training;

/// <summary>
/// Low-rank adapters (Hu et al. 2021) on the transformer of CLIP's image tower, trained through a head that stays as it is, on <c>-sum_i
/// c_i ln sigmoid(s_preferred - s_rejected)</c>
/// of Bradley and Terry. A few hundred choices are soon known by heart: the adapters are those of the epoch that makes choices left out
/// most likely.
/// </summary>
internal static class ClipAdapters
{
    private const int Pairs = 8; // of a step
    private const double MaxNorm = 1;

    /// <summary>Trains adapters and leaves the best in <see cref="ClipFeatures.Adapters"/>.</summary>
    /// <param name="clip">The features; without adapters yet.</param>
    /// <param name="head">The head, fitted to <paramref name="training"/>.</param>
    /// <param name="candidates">The images.</param>
    /// <param name="training">What they are trained on.</param>
    /// <param name="leftOut">What they are chosen by.</param>
    /// <param name="options">Rank, epochs, learning rate, seed.</param>
    /// <param name="progress">Told the number of images that went through, again and again.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <returns>The epoch, 0 when no adapters were better than none, and the temperature that the choices left out ask for.</returns>
    public static (int Epoch, double Temperature) Train(
        ClipFeatures clip, RewardHead head, IReadOnlyList<RewardInput> candidates, RatedPair[] training, RatedPair[] leftOut,
            RewardTrainingOptions options, Action<int>? progress, CancellationToken cancellation)
    {
        var (loss, score, layers) = Build(clip, head, options.LoraRank);
        var tensors = layers.SelectMany(l => new[] { l.A, l.B }).ToArray();
        using var adapters = new ParameterBuffer([.. tensors.Select(v => (v.Name, v.Data!.Dims))]);
        foreach (var (i, layer) in layers.Index())
        {
            var a = adapters[layer.A.Name];
            new Philox(options.Seed, 0, (uint)i, RandomStep.Initialization).FillGaussian(a);
            foreach (ref var value in a) value /= options.LoraRank;
        }
        using var gradients = adapters.Like();
        using var session = new GraphSession(TrainingGraph.Finish(loss, tensors, options.Session.Gradients, ("score", score)),
            options.Session)
            .Bind(adapters).BindOutputs(gradients, TrainingGraph.GradientSuffix);
        var steps = options.Epochs * ((training.Length + Pairs - 1) / Pairs);
        var rate = new LearningRate
        {
            Peak = options.LearningRate,
            WarmupSteps = Math.Min(20, steps - 1),
            TotalSteps = steps,
            Decay = LearningRateDecay.Cosine
        };
        var optimizer = new AdamW(adapters.All.Length, new() { WeightDecay = 0 });
        var (counts, seen) = (Array.ConvertAll(leftOut, p => (double)p.Weight), 0);

        // B is zero: at first the scores are those of the head alone.
        var best = (Epoch: 0, Fit: Judge(), Values: adapters.All.ToArray());
        for (var epoch = 1; epoch <= options.Epochs; epoch++)
        {
            var order = training.ToArray();
            new Philox(options.Seed, (uint)epoch, 0, RandomStep.Shuffle).Shuffle<RatedPair>(order);
            foreach (var part in order.Chunk(Pairs))
            {
                Run(part);
                Gradients.ClipByGlobalNorm(gradients.All, MaxNorm);
                optimizer.Step(adapters.All, gradients.All, rate.At(optimizer.StepCount));
            }
            if (Judge() is var now && now.Likelihood > best.Fit.Likelihood) best = (epoch, now, adapters.All.ToArray());
        }
        best.Values.CopyTo(adapters.All);
        if (best.Epoch > 0) clip.Adapters = layers.ToDictionary(l => l.Path, l =>
            (Tensor.Of(adapters[l.A.Name], Dims(l.A)), Tensor.Of(adapters[l.B.Name], Dims(l.B))), StringComparer.Ordinal);
        return (best.Epoch, best.Fit.Temperature);

        long[] Dims(Value v) => adapters.Layout.First(p => p.Name == v.Name).Shape;

        // At the temperature that suits them best, so that adapters are not chosen for being more or less sure.
        (double Likelihood, double Temperature) Judge()
        {
            var logits = leftOut.Chunk(Pairs).SelectMany(part =>
                Run(part)["score"] is var s ? Enumerable.Range(0, part.Length).Select(i => (double)s[i] - s[Pairs + i]) : []).ToArray();
            var temperature = TemperatureScaling.Fit(logits, counts);
            return (logits.Zip(counts, (z, c) => c * Math.Log(BradleyTerry.Probability(z / temperature))).Sum(), temperature);
        }

        // The last batch is filled up with pairs that count nothing.
        Dictionary<string, float[]> Run(RatedPair[] part)
        {
            cancellation.ThrowIfCancellationRequested();
            RatedPair[] rows = [.. part, .. Enumerable.Repeat(part[0] with { Weight = 0 }, Pairs - part.Length)];
            var total = part.Sum(p => p.Weight);
            using var weights = Array.ConvertAll(rows, p => p.Weight / total).ToOrt(Pairs);
            var outputs = clip.Run(session, [.. rows.Select(p => candidates[p.Preferred]), .. rows.Select(p => candidates[p.Rejected])],
                ("weight", weights));
            progress?.Invoke(seen += 2 * part.Length);
            return outputs;
        }
    }

    private static (Value Loss, Value Score, IReadOnlyList<LoraLayer> Layers) Build(ClipFeatures clip, RewardHead head, int rank)
    {
        var (graph, features) = clip.Graph(2 * Pairs);
        var score = head.Score(features);
        graph.Outputs.Clear();
        graph.Output(score, "score");
        var layers = InjectLora.Apply(graph,
            new LoraOptions { Targets = ["vision_model.encoder.**"], Rank = rank, Prefix = "", Type = ElementType.Float });
        var loss = -Sum(graph.Input("weight", ElementType.Float,
            Pairs) * LogSigmoid(score.Slice(0, 0, Pairs) - score.Slice(0, Pairs, 2 * Pairs)));
        return (loss, score, layers);
    }
}
