using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Tuning.Training;

/// <summary>A method whose training graph can be written to a file: its loss and what the file's fields mean.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Formula">Its loss.</param>
public sealed record TrainingFileMethod(string Name, string Formula)
{
    internal const string Target = "what the model should have given: the noise that was added (epsilon), the velocity (v_prediction) or "
        + "the clean sample, as the model predicts";
    internal const string PairTarget = Target + "; both rows of a pair have the same noise";

    internal static Dictionary<string, string> TransitionFields { get; } = new(StringComparer.Ordinal)
    {
        ["next_sample"] = "x', the latent that the step has drawn from sample x",
        ["c_x"] = "cX of the step's mean mu = cX*x + cM*m, with m the model's (guided) output. DDIM, with a and a' the alpha bars before "
            + "and after the step and d = sqrt(1-a'-sigma^2): "
            + "epsilon sqrt(a'/a), v_prediction sqrt(a*a') + d*sqrt(1-a). Flow-GRPO's step from t to t+dt, dt < 0, with noise s: 1 + "
                + "s^2*dt/(2t)",
        ["c_m"] = "cM of the same mean. DDIM: epsilon d - sqrt(a'*(1-a)/a), v_prediction d*sqrt(a) - sqrt(a'*(1-a)). Flow-GRPO: (1 + "
            + "s^2*(1-t)/(2t))*dt, and sigma = s*sqrt(-dt)",
        ["sigma"] = "standard deviation of the step, > 0: x' ~ N(mu, sigma^2)",
        ["old_log_prob"] = "log p(x'|x) when x' was drawn, nats, a mean over elements: mean[-(x'-mu)^2/(2 sigma^2)] - ln sigma - ln "
            + "sqrt(2 pi); in the first pass the output log_prob",
        ["advantage"] = "advantage A of the trajectory, limited to [-5, 5] by whoever computes it",
    };

    /// <summary>A policy gradient on recorded steps, which may have a KL term.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="formula">Its loss.</param>
    internal static TrainingFileMethod OfTransitions(string name, string formula) =>
        new(name, formula) { IsPolicyGradient = true, Fields = TransitionFields, KlWeight = 0 };

    /// <summary>Whether it takes recorded denoising steps, and guidance.</summary>
    public bool IsPolicyGradient { get; init; }

    /// <summary>Whether rows are pairs: the preferred ones first, then the rejected ones.</summary>
    public bool IsPaired { get; init; }

    /// <summary>Whether it compares with the model without adapters.</summary>
    public bool NeedsReference { get; init; }

    /// <summary>beta where none is given; null for a method that has none.</summary>
    public double? Beta { get; init; }

    /// <summary>The clip range where none is given; null for a method that has none.</summary>
    public double? ClipRange { get; init; }

    /// <summary>The weight of the KL divergence where none is given; null for a method that has none.</summary>
    public double? KlWeight { get; init; }

    /// <summary>Meaning of its own inputs, those beside the model's, by name.</summary>
    public IReadOnlyDictionary<string, string> Fields { get; init; } = new Dictionary<string, string>();

    /// <summary>Writes the loss.</summary>
    internal Func<GuidedOutput, TrainingFileOptions, TrainingLoss> Write { get; init; } = null!;

    /// <summary>Meaning of the metrics that methods give beside the loss.</summary>
    internal static IReadOnlyDictionary<string, string> Metrics { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["log_prob"] = "log p(x'|x) now, nats, a mean over elements",
        ["ratio"] = "mean of r = exp(log_prob - old_log_prob)",
        ["ratio_deviation"] = "max |r - 1|; 0 in the first pass over fresh samples",
        ["approx_kl"] = "mean (log_prob - old_log_prob)^2 / 2",
        ["clip_fraction"] = "share of ratios outside the clip range",
        ["kl"] = "mean KL divergence to the model without adapters, nats an element",
        ["mse"] = "mean error L of the model",
        ["reference_mse"] = "mean error L_ref of the model without adapters",
        ["positive_error"] = "mean of e(v+)",
        ["negative_error"] = "mean of e(v-)",
        ["old_deviation"] = "mean (m - v_old)^2",
        ["margin"] = "mean over pairs of h = -((L_w - L_l) - (L_ref_w - L_ref_l))/2; of d3po h = beta (ln r_w - ln r_l)",
        ["accuracy"] = "share of pairs with h > 0",
        ["implicit_reward"] = "r = beta/2 (L_ref - L)",
        ["baseline"] = "z = max(0, mean r)",
    };

    /// <summary>The recorded step that a policy gradient is written on.</summary>
    internal static PolicyTransition Transition(GuidedOutput f) =>
        PolicyTransition.Inputs(f.Output, f.X, withReference: false) with { Reference = f.Reference };
}
