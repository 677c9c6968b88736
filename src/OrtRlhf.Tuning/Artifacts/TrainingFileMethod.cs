using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>A method whose training graph can be written to a file: its loss and what the file's fields mean.</summary>
public sealed class TrainingFileMethod
{
    private const string Target = "what the model should have given: the noise that was added (epsilon), the velocity (v_prediction) or the clean sample, as the model predicts";
    private const string PairTarget = Target + "; both rows of a pair have the same noise";

    private static readonly Dictionary<string, string> TransitionFields = new(StringComparer.Ordinal)
    {
        ["next_sample"] = "x', the latent that the step has drawn from sample x",
        ["c_x"] = "cX of the step's mean mu = cX*x + cM*m, with m the model's (guided) output. DDIM, with a and a' the alpha bars before and after the step and d = sqrt(1-a'-sigma^2): "
            + "epsilon sqrt(a'/a), v_prediction sqrt(a*a') + d*sqrt(1-a). Flow-GRPO's step from t to t+dt, dt < 0, with noise s: 1 + s^2*dt/(2t)",
        ["c_m"] = "cM of the same mean. DDIM: epsilon d - sqrt(a'*(1-a)/a), v_prediction d*sqrt(a) - sqrt(a'*(1-a)). Flow-GRPO: (1 + s^2*(1-t)/(2t))*dt, and sigma = s*sqrt(-dt)",
        ["sigma"] = "standard deviation of the step, > 0: x' ~ N(mu, sigma^2)",
        ["old_log_prob"] = "log p(x'|x) when x' was drawn, nats, a mean over elements: mean[-(x'-mu)^2/(2 sigma^2)] - ln sigma - ln sqrt(2 pi); in the first pass the output log_prob",
        ["advantage"] = "advantage A of the trajectory, limited to [-5, 5] by whoever computes it",
    };

    private TrainingFileMethod(string name, string formula) => (Name, Formula) = (name, formula);

    /// <summary>All methods.</summary>
    public static IReadOnlyList<TrainingFileMethod> All { get; } =
    [
        new("mse", "mean (m - target)^2")
        {
            Fields = new Dictionary<string, string> { ["target"] = Target },
            Write = (f, _) => Mse.Loss(DenoisingErrors.Inputs(f.Output)),
        },
        new("ddpo", "mean_i max(-A r, -A clip(r, 1-c, 1+c)), r = exp(log_prob - old_log_prob)")
        {
            IsPolicyGradient = true,
            Fields = TransitionFields,
            Write = (f, o) => Ddpo.Loss(Transition(f), new() { ClipRange = o.ResolvedClipRange, KlWeight = o.KlWeight }),
        },
        new("flow-grpo", "mean_i max(-A r, -A clip(r, 1-c, 1+c)) + w*KL, r = exp(log_prob - old_log_prob), KL = mean_i mean (mu - mu_ref)^2 / (2 sigma^2)")
        {
            IsPolicyGradient = true,
            Fields = TransitionFields,
            Write = (f, o) => FlowGrpo.Loss(Transition(f), new() { ClipRange = o.ResolvedClipRange, KlWeight = o.KlWeight }),
        },
        new("nft", "mean_i r e(v+) + (1-r) e(v-), v+- = v_old +- b (m - v_old), e the squared error of the clean sample over its mean absolute error")
        {
            Fields = new Dictionary<string, string>
            {
                ["target"] = Target,
                ["old_output"] = "v_old, the output of the policy that drew the clean samples",
                ["reward"] = "r, 0 to 1, how good the sample is among those of its prompt",
                ["error_scale"] = "size of the clean sample's error by the output's: t of a flow, sqrt((1-a)/a) of epsilon, sqrt(1-a) of v_prediction, a the alpha bar",
            },
            Write = (f, o) => Nft.Loss(NftSamples.Inputs(f.Output, withReference: false), new()),
        },
        new("reinforce", "-mean_i A log_prob")
        {
            IsPolicyGradient = true,
            Fields = TransitionFields,
            Write = (f, o) => Reinforce.Loss(Transition(f), new() { KlWeight = o.KlWeight }),
        },
        new("d3po", "mean_pairs -A ln sigmoid(beta (ln r_w - ln r_l)), r = clip(exp(log_prob - log_prob_ref), 1-c, 1+c); rows: steps of preferred trajectories w first, then the same of rejected ones l")
        {
            IsPolicyGradient = true,
            IsPaired = true,
            NeedsReference = true,
            Fields = new Dictionary<string, string>(TransitionFields, StringComparer.Ordinal)
            {
                ["old_log_prob"] = "log p(x'|x) when x' was drawn, which the metrics ratio and approx_kl compare with; the loss takes no notice of it",
                ["advantage"] = "A, how much the pair counts, in both of its rows; 1 where all count the same",
            },
            Write = (f, o) => D3po.Loss(Transition(f), new() { Beta = o.ResolvedBeta, ClipRange = o.ResolvedClipRange }),
        },
        new("dpo", "mean_pairs -ln sigmoid(-beta/2 ((L_w - L_l) - (L_ref_w - L_ref_l))), L = mean (m - target)^2; rows: preferred w first, then rejected l")
        {
            IsPaired = true,
            NeedsReference = true,
            Fields = new Dictionary<string, string> { ["target"] = PairTarget },
            Write = (f, o) => Dpo.Loss(DenoisingErrors.Inputs(f.Output, f.Reference), new() { Beta = o.ResolvedBeta }),
        },
        new("ipo", "mean_pairs (2 beta h - 1)^2, h = -((L_w - L_l) - (L_ref_w - L_ref_l))/2; rows: preferred w first, then rejected l")
        {
            IsPaired = true,
            NeedsReference = true,
            Fields = new Dictionary<string, string> { ["target"] = PairTarget },
            Write = (f, o) => Ipo.Loss(DenoisingErrors.Inputs(f.Output, f.Reference), new() { Beta = o.ResolvedBeta }),
        },
        new("kto", "mean_i 1 - sigmoid(label (r - z)), r = beta/2 (L_ref - L), z = max(0, mean r)")
        {
            NeedsReference = true,
            Fields = new Dictionary<string, string> { ["target"] = Target, ["label"] = "1 for a sample that is liked, -1 for one that is not" },
            Write = (f, o) =>
            {
                var errors = DenoisingErrors.Inputs(f.Output, f.Reference);
                return Kto.Loss(errors, Kto.Labels(errors), new() { Beta = o.ResolvedBeta });
            },
        },
    ];

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>Its loss.</summary>
    public string Formula { get; }

    /// <summary>Whether it takes recorded denoising steps, and guidance.</summary>
    public bool IsPolicyGradient { get; private init; }

    /// <summary>Whether rows are pairs: the preferred ones first, then the rejected ones.</summary>
    public bool IsPaired { get; private init; }

    /// <summary>Whether it compares with the model without adapters.</summary>
    public bool NeedsReference { get; private init; }

    /// <summary>Meaning of its own inputs, those beside the model's, by name.</summary>
    public IReadOnlyDictionary<string, string> Fields { get; private init; } = new Dictionary<string, string>();

    /// <summary>Writes the loss.</summary>
    internal Func<GuidedOutput, TrainingFileOptions, TrainingLoss> Write { get; private init; } = null!;

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

    private static PolicyTransition Transition(GuidedOutput f) => PolicyTransition.Inputs(f.Output, f.X, withReference: false) with { Reference = f.Reference };
}
