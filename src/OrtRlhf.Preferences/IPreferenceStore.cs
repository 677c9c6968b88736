using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>
/// Candidates and what raters chose among them. What a method has added is on the disk when it returns. Methods may be called from many
/// threads, and
/// several processes may have a store open at once.
/// </summary>
public interface IPreferenceStore : IDisposable
{
    /// <summary>Where the images and trajectories lie.</summary>
    PreferenceFolder Folder { get; }

    /// <summary>Adds candidates, all or none. One that is there already, the same in all parts, is left as it is.</summary>
    /// <param name="candidates">Their files are written before.</param>
    /// <returns>How many were new.</returns>
    /// <exception cref="UserError">A candidate is not valid, another one has its id, or the store cannot be written.</exception>
    int Add(IReadOnlyList<Candidate> candidates);

    /// <summary>Adds choices, all or none. One whose id is there already is left as it is, so that sending it again does no harm.</summary>
    /// <param name="choices">Of candidates that the store has, for their prompt.</param>
    /// <returns>How many were new.</returns>
    /// <exception cref="UserError">A choice is not valid, a candidate is unknown or of another prompt, or the store cannot be
    /// written.</exception>
    int Add(IReadOnlyList<Choice> choices);

    /// <summary>Takes a choice back.</summary>
    /// <param name="choice">Its id.</param>
    /// <param name="rater">Who made it; the choices of others stay.</param>
    /// <returns>Whether it was there.</returns>
    /// <exception cref="UserError">The store cannot be written.</exception>
    bool Undo(string choice, string rater);

    /// <summary>All candidates, in the order added, pictures of attention checks among them (<see cref="Candidate.IsCheck"/>).</summary>
    /// <exception cref="UserError">The store cannot be read.</exception>
    IReadOnlyList<Candidate> Candidates();

    /// <summary>
    /// All choices, or those of a rater, in the order added; skips and attention checks among them, which have no
    /// <see cref="Choice.Pairs"/>.
    /// </summary>
    /// <exception cref="UserError">The store cannot be read.</exception>
    IReadOnlyList<Choice> Choices(string? rater = null);
}
