using System.Numerics.Tensors;
using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>Options of <see cref="EvolutionStrategies"/>.</summary>
public sealed record EvolutionStrategiesOptions
{
    /// <summary>P, members evaluated per update, an even number from 2 to 65,536; default 16 (8 antithetic pairs).</summary>
    public int Population { get; init; } = 16;

    /// <summary>Standard deviation of the perturbations, in units of the parameters, &gt; 0; default 0.02.</summary>
    public double Sigma { get; init; } = 0.02;

    /// <summary>Learning rate of the optimizer that takes the estimate, &gt; 0; default 0.01.</summary>
    public double LearningRate { get; init; } = 0.01;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("es")
        .Expect(Population is >= 2 and <= 65_536 && Population % 2 == 0, "population", "an even number from 2 to 65536", Population)
        .Expect(Sigma > 0 && double.IsFinite(Sigma), "sigma", "a number > 0", Sigma)
        .Expect(LearningRate > 0 && double.IsFinite(LearningRate), "learning rate", "a number > 0", LearningRate)
        .Throw();
}

/// <summary>
/// Antithetic evolution strategies (Salimans et al. 2017) on a parameter vector theta, from rewards alone: members 2k and 2k+1 are
/// <c>theta + sigma*e_k</c> and <c>theta - sigma*e_k</c>; their rewards become centred ranks u in [-1/2, 1/2]; and the gradient of
/// minus the expected utility is estimated as <c>g = -1/(P sigma) * sum_k (u_2k - u_2k+1) e_k</c>. The e_k are drawn again
/// from the seed when they are needed, so that no member is stored and many machines need to exchange rewards only.
/// </summary>
/// <remarks>
/// Evaluate all members on the same prompts and latents: the comparison is then free of their noise. The estimate goes to an
/// optimizer such as <see cref="Optimizers.AdamW"/>, which minimises.
/// </remarks>
/// <param name="options">Options.</param>
/// <param name="seed">The run's seed.</param>
/// <exception cref="UserError">The options are out of range.</exception>
public sealed class EvolutionStrategies(EvolutionStrategiesOptions options, ulong seed)
{
    private const int BlockLength = 4096; // a multiple of Philox's blocks
    private readonly EvolutionStrategiesOptions options = Valid(options);

    /// <summary>Writes a member's parameters.</summary>
    /// <param name="theta">The current parameters.</param>
    /// <param name="epoch">The update's number; other updates have other perturbations.</param>
    /// <param name="member">0 to P-1.</param>
    /// <param name="destination">Receives theta plus or minus sigma*e.</param>
    /// <exception cref="ArgumentException">Spans of different lengths, or no such member.</exception>
    public void Perturb(ReadOnlySpan<float> theta, uint epoch, int member, Span<float> destination)
    {
        if (destination.Length != theta.Length)
            throw new ArgumentException($"expected {theta.Length} numbers, got {destination.Length}");
        if (member < 0 || member >= options.Population)
            throw new ArgumentException($"expected a member from 0 to {options.Population - 1}, got {member}");
        var step = (float)(member % 2 == 0 ? options.Sigma : -options.Sigma);
        Span<float> e = stackalloc float[BlockLength];
        for (var i = 0; i < theta.Length; i += BlockLength)
        {
            var part = e[..Math.Min(BlockLength, theta.Length - i)];
            Direction(epoch, member / 2).FillGaussian(part, i);
            TensorPrimitives.MultiplyAdd(part, step, theta.Slice(i, part.Length), destination.Slice(i, part.Length));
        }
    }

    /// <summary>Estimates the gradient of minus the expected reward, rank-shaped.</summary>
    /// <param name="rewards">The reward of each member, P finite numbers.</param>
    /// <param name="epoch">The update's number, as in <see cref="Perturb"/>.</param>
    /// <param name="gradient">Receives the estimate; as long as theta.</param>
    /// <exception cref="UserError">A reward is NaN or infinite.</exception>
    /// <exception cref="ArgumentException">Not one reward a member.</exception>
    public void EstimateGradient(ReadOnlySpan<float> rewards, uint epoch, Span<float> gradient)
    {
        if (rewards.Length != options.Population)
            throw new ArgumentException($"expected {options.Population} rewards, got {rewards.Length}");
        var utilities = CentredRanks(rewards);
        gradient.Clear();
        Span<float> e = stackalloc float[BlockLength];
        for (var pair = 0; pair < utilities.Length / 2; pair++)
        {
            var weight = (utilities[2 * pair + 1] - utilities[2 * pair]) / (options.Population * options.Sigma);
            if (weight == 0)
                continue;
            for (var i = 0; i < gradient.Length; i += BlockLength)
            {
                var part = e[..Math.Min(BlockLength, gradient.Length - i)];
                var sum = gradient.Slice(i, part.Length);
                Direction(epoch, pair).FillGaussian(part, i);
                TensorPrimitives.MultiplyAdd(part, (float)weight, sum, sum);
            }
        }
    }

    /// <summary>
    /// Ranks from -1/2 (lowest) to 1/2 (highest); equal rewards share the mean of their ranks, so that no difference is no signal.
    /// </summary>
    /// <exception cref="UserError">A reward is NaN or infinite.</exception>
    public static double[] CentredRanks(ReadOnlySpan<float> rewards)
    {
        Advantages.Advantage.RequireFinite(rewards, "of es");
        var sorted = rewards.ToArray();
        Array.Sort(sorted);
        var ranks = new double[rewards.Length];
        for (var i = 0; i < rewards.Length; i++)
        {
            var first = sorted.AsSpan().IndexOf(rewards[i]);
            var last = sorted.AsSpan().LastIndexOf(rewards[i]);
            ranks[i] = rewards.Length == 1 ? 0 : (first + last) / 2.0 / (rewards.Length - 1) - 0.5;
        }
        return ranks;
    }

    private static EvolutionStrategiesOptions Valid(EvolutionStrategiesOptions options)
    {
        options.Validate();
        return options;
    }

    private Philox Direction(uint epoch, int pair) => new(seed, epoch, (uint)pair, RandomStep.Perturbation);
}
