using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>A reward that expressions can name.</summary>
/// <param name="Name">See <see cref="RewardName.Name"/>.</param>
/// <param name="Summary">One line for help and errors.</param>
/// <param name="Create">Makes it, from its name with the argument; called when an expression or a watch list first needs it, so that models
/// load only then.</param>
public sealed record RewardEntry(string Name, string Summary, Func<RewardName, IReward> Create)
{
    /// <summary>A reward without an argument.</summary>
    /// <param name="Name">See <see cref="RewardName.Name"/>.</param>
    /// <param name="Summary">One line for help and errors.</param>
    /// <param name="Create">Makes it.</param>
    /// <param name="OppositeOf">See <see cref="OppositeOf"/>.</param>
    public RewardEntry(string Name, string Summary, Func<IReward> Create, string? OppositeOf = null)
        : this(Name, Summary, _ => Create()) => this.OppositeOf = OppositeOf;

    /// <summary>The reward that this one is the plain negative of; then watching it would say nothing more.</summary>
    public string? OppositeOf { get; init; }

    /// <summary>
    /// What its argument is, such as <c>FOLDER</c>, or <c>[FOLDER]</c> where it may be left out; null for a reward without one.
    /// </summary>
    public string? Argument { get; init; }

    /// <summary>How help shows it: <c>onnx:FILE</c>, <c>clip-score[:FOLDER]</c>.</summary>
    public string Usage => Argument is null ? Name : Argument.StartsWith('[') ? $"{Name}[:{Argument[1..]}" : $"{Name}:{Argument}";

    /// <summary>Whether runs watch it unasked, where it fits: those without an argument and a model of their own.</summary>
    public bool IsWatched => OppositeOf is null && Argument is null;

    /// <summary>Makes the reward of a name.</summary>
    /// <exception cref="UserError">The argument is missing, not taken, or wrong.</exception>
    internal IReward Make(RewardName name)
    {
        if (name.Argument is { } given && Argument is null) throw new UserError($"reward '{Name}' takes no argument, got '{given}'");
        if (string.IsNullOrEmpty(name.Argument)
            && Argument?.StartsWith('[') == false) throw new UserError($"reward '{Name}' needs an argument: write {Usage}, {Summary}");
        return Create(name);
    }
}

/// <summary>The rewards at hand, by name. Immutable.</summary>
public sealed class RewardRegistry
{
    private readonly Dictionary<string, RewardEntry> entries;

    /// <summary>Makes a registry.</summary>
    /// <param name="entries">Its rewards; names differ.</param>
    public RewardRegistry(IEnumerable<RewardEntry> entries) => this.entries = entries.ToDictionary(entry => entry.Name);

    /// <summary>The rewards that ship.</summary>
    public static RewardRegistry Default { get; } = new(
    [
        new("jpeg-compressibility", "minus the size in kB as a JPEG of quality 95", () => JpegRewards.Compressibility),
        new("jpeg-incompressibility", "the size in kB as a JPEG of quality 95", () =>
            JpegRewards.Incompressibility, OppositeOf: "jpeg-compressibility"),
        new("prompt-alignment", "how far an image of drawn scenes shows what its caption says, 0 to 1", () => PromptAlignment.Partial),
        new("prompt-accuracy", "1 when an image of drawn scenes shows exactly what its caption says, else 0", () =>
            PromptAlignment.Accuracy),
        new("drawing-quality", "how well formed the objects of a drawn scene are, whatever was asked, 0 to 1", () => SceneRewards.Quality),
        new("without", "minus the percentage of a drawn scene that objects of forbidden colours and shapes cover, even where the prompt "
            + "asks for them: without:red, without:red,circle", SceneRewards.Without) { Argument = "LIST" },
        new("clip-score", "100 times the cosine of CLIP's embeddings of image and prompt; FOLDER is a CLIPModel in transformers' layout, "
            + "models/shapes-clip where it is left out", ClipReward.Score) { Argument = "[FOLDER]" },
        new("pick-score", "like clip-score, but times e^logit_scale, for preference models in CLIP's shape such as PickScore",
            ClipReward.Preference) { Argument = "FOLDER" },
        new("aesthetic", "LAION's aesthetic predictor: a linear or MLP head in safetensors on CLIP's image embedding; FILE#clip=FOLDER "
            + "names the CLIP it was trained on where it does not lie beside it", AestheticReward.Create) { Argument = "FILE" },
        new("onnx", "a number an image from any ONNX model; it takes pixels, prepared as the preprocessor_config.json beside it says, "
            + "and may take input_ids of the prompt", OnnxReward.Create) { Argument = "FILE" },
        new("http", "scores from a service, http://host:port/path: POST {\"images\":[base64 PNG],\"prompts\":[text]} gives "
            + "{\"scores\":[number]}; options #timeout=60 #retries=4 #batch=8 #parallel=2, a key in ORTRLHF_REWARD_API_KEY",
            HttpReward.Create) { Argument = "URL" },
        new("https", "the same, encrypted", HttpReward.Create) { Argument = "URL" },
        new("vision", "how surely a vision model says yes when it is asked whether the image shows the prompt, 0 to 1: "
            + "vision:https://host/v1#model=NAME, any service with OpenAI's chat completions; further options #question=TEXT #timeout=60 "
            + "#retries=4 #parallel=4 #logprobs=off, the key in OPENAI_API_KEY", VisionReward.Create) { Argument = "URL#model=NAME" },
    ]);

    /// <summary>All entries, sorted by name.</summary>
    public IEnumerable<RewardEntry> Entries => entries.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal);

    /// <summary>This registry and one more reward, in place of any of the same name.</summary>
    /// <param name="entry">The reward.</param>
    public RewardRegistry With(RewardEntry entry) => new(entries.Values.Where(other => other.Name != entry.Name).Append(entry));

    /// <summary>
    /// Reads a weighted sum such as <c>jpeg-compressibility + 2*prompt-alignment</c>: signs, weights before or after the name,
    /// blanks anywhere; repeated names are added up. Watches, beside it, every other reward that fits all prompts, opposites aside.
    /// </summary>
    /// <param name="expression">The sum.</param>
    /// <param name="prompts">The run's prompts, to choose what can be watched; null watches nothing.</param>
    /// <param name="watch">The rewards to watch; null chooses.</param>
    /// <exception cref="UserError">An unknown name, with the known ones; a fault in the expression; a reward that does not fit a
    /// prompt.</exception>
    public WeightedReward Parse(string expression, IReadOnlyCollection<string>? prompts = null, IReadOnlyList<string>? watch = null)
    {
        var parsed = RewardExpression.Parse(expression, entries.ContainsKey, Entries.Select(entry => entry.Name));
        var (terms, watched) = (new List<RewardTerm>(), new List<IReward>());
        try
        {
            foreach (var (name, weight) in parsed) terms.Add(new(weight, entries[name.Name].Make(name)));
            foreach (var term in terms) RequireFit(term.Reward, prompts);
            if (watch is not null)
            {
                foreach (var name in watch)
                {
                    watched.Add(Watched(name));
                    RequireFit(watched[^1], prompts);
                }
            }
            else if (prompts is not null)
            {
                var said = terms.Select(term => EntryOf(term.Reward)).SelectMany(entry => new[] { entry.Name, entry.OppositeOf })
                    .ToHashSet();
                foreach (var entry in Entries.Where(entry => entry.IsWatched && !said.Contains(entry.Name)))
                {
                    var reward = entry.Make(new(entry.Name));
                    if (prompts.All(reward.Fits)) watched.Add(reward);
                    else reward.Dispose();
                }
            }
            return new WeightedReward(terms, watched);
        }
        catch
        {
            foreach (var reward in terms.Select(term => term.Reward).Concat(watched)) reward.Dispose();
            throw;
        }
    }

    private RewardEntry EntryOf(IReward reward) => entries[reward.Name.Split(':')[0]];

    private IReward Watched(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        var name = colon < 0 ? new RewardName(text) : new(text[..colon], text[(colon + 1)..]);
        if (!entries.TryGetValue(name.Name, out var entry)) throw new UserError(
            $"unknown reward '{name.Name}' to watch: known are {string.Join(", ", Entries.Select(known => known.Name))}.");
        return entry.Make(name);
    }

    private void RequireFit(IReward reward, IReadOnlyCollection<string>? prompts)
    {
        if (prompts?.FirstOrDefault(prompt => !reward.Fits(prompt)) is { } misfit)
            throw new UserError(misfit.Length == 0
                ? $"reward '{reward.Name}': scores images of prompts, but the model draws without prompts. Choose another reward, such "
                    + $"as jpeg-compressibility."
                : $"reward '{reward.Name}': cannot score images of the prompt \"{misfit}\". Choose other prompts or another reward: "
                    + $"{EntryOf(reward).Summary}.");
    }
}
