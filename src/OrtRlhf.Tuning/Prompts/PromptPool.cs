using OrtRlhf.Graph;
using OrtRlhf.Scenes;

namespace OrtRlhf.Tuning.Prompts;

/// <summary>
/// The prompts of a run: lists to train on, which are drawn from in turn so that each has an equal share whatever its length, and
/// prompts held out for evaluation. What prompts.json of a run's folder holds, so that a resumed run sees the same ones.
/// </summary>
/// <param name="Training">At least one list, none empty.</param>
/// <param name="HeldOut">At least one prompt, none of which is trained on (unless there is but one in all).</param>
public sealed record PromptPool(IReadOnlyList<IReadOnlyList<string>> Training, IReadOnlyList<string> HeldOut)
{
    /// <summary>Different prompts put aside from a prompt file, at most; never more than half of it.</summary>
    public const int PutAside = 128;

    private readonly PromptList[] lists = [.. Training.Select(list => PromptList.Plain(list))];

    /// <summary>Every different prompt.</summary>
    internal IReadOnlyCollection<string> All => [.. Training.SelectMany(list => list).Concat(HeldOut).Distinct()];

    /// <summary>The one prompt of a model that takes none: the empty text.</summary>
    public static PromptPool WithoutText { get; } = new([[""]], [""]);

    /// <summary>Captions of drawn scenes; a prompt's combination of colours and shapes is in one of the two sides only.</summary>
    /// <param name="kinds">At least one kind.</param>
    public static PromptPool Scenes(IReadOnlyList<SceneKind> kinds) =>
        new([.. kinds.Select(ScenePrompts.Training)], InTurn([.. kinds.Select(ScenePrompts.HeldOut)]));

    /// <summary>Prompts of files.</summary>
    /// <param name="path">The prompts to train on.</param>
    /// <param name="heldOutPath">Those to evaluate on; null puts some of the first file aside.</param>
    /// <param name="seed">Chooses them.</param>
    /// <exception cref="UserError">As <see cref="PromptList.Read"/>; or a held-out prompt is among those trained on.</exception>
    public static PromptPool Read(string path, string? heldOutPath, ulong seed)
    {
        var prompts = PromptList.Read(path);
        if (heldOutPath is null)
        {
            var (training, heldOut) = prompts.Split(PutAside, seed);
            return new([training.Prompts], (heldOut ?? training).Prompts);
        }
        var aside = PromptList.Read(heldOutPath).Prompts.Distinct().ToArray();
        var trained = prompts.Prompts.ToHashSet();
        if (aside.FirstOrDefault(trained.Contains) is { } both)
            throw new UserError($"{heldOutPath}: the prompt \"{both}\" is also in {path}. Held-out prompts must not be trained on: "
                + $"remove it from one of the files.");
        return new([prompts.Prompts], aside);
    }

    /// <summary>
    /// The pool of a run that trains on other prompts than these: what is held out stays, but for those trained on. Where none of it would
    /// be left, or
    /// captions of drawn scenes do not fit what is trained on, the prompts trained on are evaluated, too, from other noise.
    /// </summary>
    /// <param name="prompts">At least one.</param>
    internal PromptPool TrainedOn(IReadOnlyList<string> prompts)
    {
        var heldOut = HeldOut.Except(prompts).ToArray();
        var strange = HeldOut.All(p => SceneCaption.Parse(p) is not null) && !prompts.All(p => SceneCaption.Parse(p) is not null);
        return new([prompts], heldOut.Length == 0 || strange ? prompts : heldOut);
    }

    /// <summary>The prompt of one draw, from the lists in turn; the same for the same arguments on every machine.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="index">The draw's number within the epoch.</param>
    public string Draw(ulong seed, uint epoch, uint index) => lists[index % lists.Length].Draw(seed, epoch, index);

    private static string[] InTurn(IReadOnlyList<IReadOnlyList<string>> lists) =>
        [.. Enumerable.Range(0, lists.Max(list => list.Count)).SelectMany(i =>
            lists.Where(list => i < list.Count).Select(list => list[i]))];
}
