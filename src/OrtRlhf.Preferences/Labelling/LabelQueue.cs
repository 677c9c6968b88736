using OrtRlhf.Graph;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>What a rater sees now.</summary>
/// <param name="Questions">The question to answer, and those that follow, so that their images can be fetched ahead; empty when there are
/// none (yet).</param>
/// <param name="Saved">Answers of this rater in the store.</param>
/// <param name="Open">Questions that wait for this rater.</param>
/// <param name="Last">Id of the rater's last choice, which can be taken back; null when there is none.</param>
/// <param name="More">Whether more questions are being made.</param>
/// <param name="Coming">How many.</param>
public sealed record RaterView(IReadOnlyList<Question> Questions, int Saved, int Open, string? Last, bool More, int Coming);

/// <summary>
/// The questions of a server, in memory, and who answers which; every answer is in the store before it counts. A question goes to as many
/// raters as the overlap says. One
/// that was given to a rater who has left (no request for <see cref="Patience"/>) goes to others. Made again from the store, it goes on
/// where it was.
/// </summary>
public sealed class LabelQueue : IDisposable
{
    /// <summary>Questions handed out ahead.</summary>
    private const int Ahead = 3;

    private readonly IPreferenceStore _store;
    private readonly ChoiceWriter _writer;
    private readonly Lock _gate = new();
    private readonly List<Item> _items = [], _checks = [];
    private readonly Dictionary<string, Item> _byId = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Rater> _raters = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Candidate> _candidates = new(StringComparer.Ordinal);

    /// <summary>Reads the store.</summary>
    /// <param name="store">The store; stays the caller's.</param>
    /// <param name="options">What is asked.</param>
    /// <exception cref="UserError">The store cannot be read.</exception>
    public LabelQueue(IPreferenceStore store, LabelOptions options)
    {
        (_store, Options, _writer) = (store, options, new ChoiceWriter(store));
        var all = store.Candidates();
        Add(all);
        var resting = Question.All(all.Where(candidate => !options.Asks(candidate)), options.Candidates).Select(question => question.Id)
            .ToHashSet(StringComparer.Ordinal);
        foreach (var choice in store.Choices().Where(choice => choice.Aspect == options.Aspect))
        {
            var id = Question.IdOf(choice.Candidates);
            if (!choice.IsSkipped) resting.Remove(id);
            var item = _byId.TryGetValue(id, out var known) ? known
                : new Item(new(id, choice.Prompt, choice.Candidates, choice.Mode == ChoiceMode.Check));
            RaterOf(choice.Rater).Record(choice.Id, item, choice.IsSkipped);
        }
        Resting = resting.Count;
    }

    /// <summary>How long a question is kept for a rater who does not ask again.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromMinutes(3);

    /// <summary>What is asked.</summary>
    public LabelOptions Options { get; }

    /// <summary>Questions that nobody has answered and nobody is asked, see <see cref="LabelOptions.Source"/>.</summary>
    public int Resting { get; }

    /// <summary>Whether more questions will come; the maker of candidates says so.</summary>
    public bool IsGrowing { get; set; }

    /// <summary>Questions that there will be then.</summary>
    public int Expected { get; set; }

    /// <summary>Questions so far, attention checks not among them.</summary>
    public int Questions { get { lock (_gate) return _items.Count; } }

    /// <summary>Questions with answers left to give.</summary>
    public int Open { get { lock (_gate) return _items.Count(item => item.Answers < Options.Overlap); } }

    /// <summary>Raters seen lately.</summary>
    public int ActiveRaters { get { lock (_gate) return _raters.Values.Count(IsHere); } }

    /// <summary>Answers saved, of all raters.</summary>
    public int Saved { get { lock (_gate) return _raters.Values.Sum(rater => rater.History.Count); } }

    /// <summary>
    /// Takes candidates, which the store has, into questions; a spoiled picture (<c>check-ID</c>) makes a check with its original.
    /// </summary>
    /// <param name="candidates">Of a prompt as many as a question has, or a multiple.</param>
    public void Add(IReadOnlyList<Candidate> candidates)
    {
        lock (_gate)
        {
            foreach (var candidate in candidates) _candidates[candidate.Id] = candidate;
            foreach (var question in Question.All(candidates.Where(Options.Asks), Options.Candidates))
                if (_byId.TryAdd(question.Id, new Item(question))) _items.Add(_byId[question.Id]);
            foreach (var spoiled in candidates.Where(candidate => candidate.IsCheck))
            {
                if (AttentionCheck.OriginalOf(spoiled) is not { } id || !_candidates.ContainsKey(id)) continue;
                var check = new Item(Question.Of(spoiled.Prompt, [id, spoiled.Id], isCheck: true));
                if (_byId.TryAdd(check.Question.Id, check)) _checks.Add(check);
            }
        }
    }

    /// <summary>A candidate by its id; null when there is none.</summary>
    public Candidate? Find(string id)
    {
        lock (_gate) return _candidates.GetValueOrDefault(id);
    }

    /// <summary>What a rater sees now; the same again until it is answered.</summary>
    /// <param name="name">The rater.</param>
    public RaterView View(string name)
    {
        lock (_gate)
        {
            var rater = RaterOf(name);
            rater.Seen = DateTime.UtcNow;
            rater.Assigned.RemoveAll(item => item.Raters.Contains(name) || (item.Answers >= Options.Overlap && !item.Question.IsCheck));
            while (rater.Assigned.Count < Ahead && Take(rater) is { } item)
            {
                rater.Assigned.Add(item);
                item.Holders.Add(rater);
                rater.Handed++;
            }
            var open = _items.Count(item => item.Answers < Options.Overlap && !item.Raters.Contains(name));
            return new RaterView([.. rater.Assigned.Take(Ahead).Select(item => item.Question)], rater.History.Count, open,
                rater.History.Count > 0 ? rater.History[^1].Choice : null, IsGrowing, IsGrowing ? Math.Max(0, Expected - _items.Count) : 0);
        }
    }

    /// <summary>Stores an answer.</summary>
    /// <param name="name">The rater.</param>
    /// <param name="id">The choice's id; sent again it is taken once.</param>
    /// <param name="question">The question's id.</param>
    /// <param name="shown">The candidates in the order shown.</param>
    /// <param name="ranks">Their ranks; none for a skip.</param>
    /// <param name="comment">What the rater wrote.</param>
    /// <returns>True when the answer is on the disk; false when the question is not this rater's to answer (any more).</returns>
    /// <exception cref="UserError">The answer is not valid, or the store cannot be written.</exception>
    public async Task<bool> Answer(string name, string id, string question, IReadOnlyList<string> shown, IReadOnlyList<int> ranks,
        string? comment)
    {
        Item? item;
        Choice choice;
        lock (_gate)
        {
            var rater = RaterOf(name);
            if (rater.History.Any(entry => entry.Choice == id)) return true;
            if (!_byId.TryGetValue(question, out item)) item = rater.Assigned.Find(assigned => assigned.Question.Id == question);
            if (item is null || item.Raters.Contains(name)
                || (rater.Pending.TryGetValue(question, out var other) && other != id)) return false;
            if (!shown.Order(StringComparer.Ordinal).SequenceEqual(item.Question.Candidates.Order(
                StringComparer.Ordinal))) throw new UserError($"choice '{id}': the candidates are not those of question '{question}'");
            choice = new Choice(
                id, item.Question.Prompt, shown, ranks, name, item.Question.IsCheck ? ChoiceMode.Check : Options.Mode,
                    DateTimeOffset.UtcNow, string.IsNullOrWhiteSpace(comment) ? null : comment.Trim(), 1, Options.Aspect);
            choice.Validate();
            rater.Pending[question] = id;
        }
        try
        {
            await _writer.Add(choice).ConfigureAwait(false);
            lock (_gate)
            {
                var rater = RaterOf(name);
                if (!item.Raters.Contains(name)) rater.Record(id, item, choice.IsSkipped);
                rater.Assigned.Remove(item);
            }
            return true;
        }
        finally
        {
            lock (_gate) RaterOf(name).Pending.Remove(question);
        }
    }

    /// <summary>Takes a rater's last choice back; its question is the rater's next.</summary>
    /// <param name="name">The rater.</param>
    /// <param name="choice">Its id, as <see cref="RaterView.Last"/> says.</param>
    /// <returns>Whether it was the last one and is gone.</returns>
    /// <exception cref="UserError">The store cannot be written.</exception>
    public async Task<bool> Undo(string name, string choice)
    {
        lock (_gate)
        {
            if (RaterOf(name).History is not [.., var last] || last.Choice != choice) return false;
        }
        await _writer.Undo(choice, name).ConfigureAwait(false);
        lock (_gate)
        {
            if (RaterOf(name) is not { History: [.., var last] } rater || last.Choice != choice) return false;
            rater.History.RemoveAt(rater.History.Count - 1);
            last.Item.Raters.Remove(name);
            if (!last.IsSkipped) last.Item.Answers--;
            last.Item.Holders.Add(rater);
            rater.Assigned.Insert(0, last.Item);
            return true;
        }
    }

    /// <summary>Waits for what is being written.</summary>
    public void Dispose() => _writer.Dispose();

    private Item? Take(Rater rater)
    {
        if (Options.CheckEvery > 0 && rater.Handed > 0 && (rater.Handed + rater.Offset) % Options.CheckEvery == 0
            && _checks.Find(check => !check.Raters.Contains(rater.Name) && !rater.Assigned.Contains(check)) is { } check) return check;
        return _items.Find(item => item.Answers < Options.Overlap && !item.Raters.Contains(rater.Name) && !rater.Assigned.Contains(item)
            && item.Answers + item.Holders.Count(holder =>
                holder != rater && holder.Assigned.Contains(item) && IsHere(holder)) < Options.Overlap);
    }

    private static bool IsHere(Rater rater) => DateTime.UtcNow - rater.Seen < Patience;

    private Rater RaterOf(string name) => _raters.TryGetValue(name, out var rater) ? rater : _raters[name] = new Rater(name);

    private sealed class Item(Question question)
    {
        public Question Question => question;

        public int Answers { get; set; }

        public HashSet<string> Raters { get; } = new(StringComparer.Ordinal);

        public HashSet<Rater> Holders { get; } = [];
    }

    private sealed class Rater(string name)
    {
        public string Name => name;

        // So that checks do not come to all raters at the same place.
        public int Offset { get; } = name.Aggregate(7, (sum, symbol) => ((sum * 31) + symbol) & 0xFFFF);

        public DateTime Seen { get; set; }

        public int Handed { get; set; }

        public List<Item> Assigned { get; } = [];

        public List<(string Choice, Item Item, bool IsSkipped)> History { get; } = [];

        public Dictionary<string, string> Pending { get; } = new(StringComparer.Ordinal);

        public void Record(string choice, Item item, bool isSkipped)
        {
            History.Add((choice, item, isSkipped));
            item.Raters.Add(name);
            item.Holders.Remove(this);
            if (!isSkipped) item.Answers++;
            Handed = Math.Max(Handed, History.Count);
        }
    }
}
