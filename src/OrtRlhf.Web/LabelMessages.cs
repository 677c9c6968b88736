using OrtRlhf.Preferences.Labelling;

namespace OrtRlhf.Web;

/// <summary>What the page asks first.</summary>
internal sealed record Greeting(string Question, string Mode, int Candidates);

/// <summary>The page wants to know where it is.</summary>
internal sealed record ViewRequest(string? Rater);

/// <summary>An answer: the candidates as they stood, and a rank for each, or none for a skip.</summary>
internal sealed record AnswerRequest(string? Rater, string? Id, string? Question, string[]? Candidates, int[]? Ranks, string? Comment);

/// <summary>Takes the last answer back.</summary>
internal sealed record UndoRequest(string? Rater, string? Choice);

/// <summary>A question as a rater sees it: the candidates in this rater's order, without their sources.</summary>
internal sealed record ShownQuestion(string Id, string Prompt, string[] Candidates);

/// <summary>Where a rater is.</summary>
internal sealed record ViewReply(ShownQuestion[] Questions, int Saved, int Open, string? Last, bool More, int Coming)
{
    public static ViewReply Of(RaterView view, string rater) =>
        new([.. view.Questions.Select(question => new ShownQuestion(question.Id, question.Prompt, question.ShownTo(rater)))], view.Saved,
            view.Open, view.Last, view.More, view.Coming);
}
