using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Preferences.Labelling;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class LabelQueueTests
{
    private static readonly LabelOptions NoChecks = new() { CheckEvery = 0 };

    [Fact]
    public void Questions_GroupThePromptsCandidates()
    {
        Candidate[] candidates = [Of("a", "p"), Of("b", "p"), Of("c", "p"), Of("x", "q"), Of("d", "p"), Of("e", "p"),
            Of("check-a", "p") with { Source = Candidate.CheckSource }];
        Assert.Equal(["a b", "c d", "e a"], Question.All(candidates, 2).Select(question => string.Join(' ', question.Candidates)));
        Assert.Equal(Question.IdOf(["a", "b"]), Question.IdOf(["b", "a"]));
        Assert.NotEqual(Question.IdOf(["a", "b"]), Question.IdOf(["a", "c"]));
        var shown = Enumerable.Range(0, 20).Select(i => string.Join(' ', Question.All(candidates, 2)[0].ShownTo($"rater {i}"))).ToArray();
        Assert.Equal(2, shown.Distinct().Count());
        Assert.Equal(shown[3], string.Join(' ', Question.All(candidates, 2)[0].ShownTo("rater 3")));
    }

    [Fact]
    public async Task Answer_GoesOnWhereItWas_AndIsTakenOnce()
    {
        using var folder = new TempFolder();
        using var store = Store(folder, 3);
        using (var queue = new LabelQueue(store, NoChecks))
        {
            var first = queue.View("ada").Questions[0];
            Assert.Equal(first, queue.View("ada").Questions[0]);
            Assert.True(await queue.Answer("ada", "one", first.Id, first.ShownTo("ada"), [0, 1], " "));
            Assert.True(await queue.Answer("ada", "one", first.Id, first.ShownTo("ada"), [0, 1], null));
            // answered already, in another window
            Assert.False(await queue.Answer("ada", "two", first.Id, first.ShownTo("ada"), [0, 1], null));
            await Assert.ThrowsAsync<UserError>(() =>
                queue.Answer("ada", "x", queue.View("ada").Questions[0].Id, ["a", "b"], [0, 1], null));
            Assert.Equal((1, 2), (queue.View("ada").Saved, queue.View("ada").Open));
            Assert.Null(Assert.Single(store.Choices()).Comment);
        }
        using (var queue = new LabelQueue(store, NoChecks))
        {
            var view = queue.View("ada");
            Assert.Equal((1, 2, "one"), (view.Saved, view.Open, view.Last));
            Assert.False(await queue.Undo("bob", "one"));
            Assert.True(await queue.Undo("ada", "one"));
            Assert.False(await queue.Undo("ada", "one"));
            Assert.Equal(Question.IdOf(view.Questions[0].Candidates), view.Questions[0].Id);
            Assert.Equal("p0", queue.View("ada").Questions[0].Prompt); // the one taken back comes first
            Assert.Empty(store.Choices());
        }
    }

    [Fact]
    public async Task Overlap_GivesEachQuestionToSoManyRaters()
    {
        using var folder = new TempFolder();
        using var store = Store(folder, 6);
        using var queue = new LabelQueue(store, NoChecks with { Overlap = 2 });
        string[] raters = ["ada", "bob", "eve"];
        // Three at once, each question to two of them; a skip leaves it to the others.
        var skipped = queue.View("ada").Questions[0];
        await queue.Answer("ada", "skip", skipped.Id, skipped.ShownTo("ada"), [], null);
        for (var n = 0; n < 20; n++)
        {
            foreach (var rater in raters)
            {
                if (queue.View(rater).Questions is [var question, ..]) Assert.True(await queue.Answer(rater, $"{rater}-{n}", question.Id,
                    question.ShownTo(rater), [0, 1], null));
            }
        }
        var answers = store.Choices().Where(choice => !choice.IsSkipped).GroupBy(choice => Question.IdOf(choice.Candidates)).ToArray();
        Assert.Equal(6, answers.Length);
        Assert.All(answers, question => Assert.Equal(2, question.Select(choice => choice.Rater).Distinct().Count()));
        Assert.DoesNotContain(answers.Single(question => question.Key == skipped.Id), choice => choice.Rater == "ada");
        Assert.Equal(0, queue.Open);
    }

    [Fact]
    public async Task Aspect_KeepsAnswersApart()
    {
        using var folder = new TempFolder();
        using var store = Store(folder, 1);
        using (var queue = new LabelQueue(store, NoChecks))
        {
            var question = queue.View("ada").Questions[0];
            await queue.Answer("ada", "one", question.Id, question.Candidates, [0, 1], null);
            Assert.Empty(queue.View("ada").Questions);
        }
        using var quality = new LabelQueue(store, NoChecks with { Aspect = "quality" });
        Assert.Single(quality.View("ada").Questions);
    }

    [Fact]
    public async Task Source_AsksWhatThisModelDrew_TheOthersRest()
    {
        using var folder = new TempFolder();
        using var store = PreferenceStore.Open(folder.At("store"), create: true);
        Candidate Drawn(string id, string prompt, string source) =>
            Of(id, prompt) with { Source = source, Trajectory = $"trajectories/{id}.safetensors" };
        store.Add((Candidate[])[Drawn("a", "p", "base"), Drawn("b", "p", "base"), Drawn("c", "p", "base"), Drawn("d", "p", "base"),
            Of("e", "q") with { Source = "photos" }, Of("f", "q"), Drawn("g", "p", "tuned"), Drawn("h", "p", "tuned")]);
        using (var queue = new LabelQueue(store, NoChecks with { Source = "base" }))
        {
            Assert.Equal((3, 1), (queue.Questions, queue.Resting));
            Assert.True(await queue.Answer("ada", "one", Question.IdOf(["a", "b"]), ["a", "b"], [0, 1], null));
        }
        using (var queue = new LabelQueue(store, NoChecks with { Source = "tuned" }))
        {
            Assert.Equal((2, 1), (queue.Questions, queue.Resting)); // of the base one is answered
            Assert.Equal(["e f", "g h"], queue.View("ada").Questions.Select(question => string.Join(' ', question.Candidates)));
            Assert.Equal((1, "one"), (queue.View("ada").Saved, queue.View("ada").Last));
            Assert.NotNull(queue.Find("a"));
            Assert.True(await queue.Undo("ada", "one"));
            Assert.Equal("a b", string.Join(' ', queue.View("ada").Questions[0].Candidates));
        }
        using var all = new LabelQueue(store, NoChecks);
        Assert.Equal((4, 0), (all.Questions, all.Resting));
    }

    [Fact]
    public async Task Checks_ComeNowAndThen_AndAreReported()
    {
        using var folder = new TempFolder();
        using var store = Store(folder, 30);
        using var queue = new LabelQueue(store, new() { CheckEvery = 5 });
        using (var maker = new CandidateMaker(store, queue, null, null))
        {
            await maker.Ready;
            for (var i = 0; i < 3600 && store.Candidates().Count(candidate => candidate.IsCheck) < 7; i++) await Task.Delay(50);
            Assert.Null(maker.Fault);
        }
        var places = new List<int>();
        for (var n = 0; queue.View("ada").Questions is [var question, ..]; n++)
        {
            if (question.IsCheck) places.Add(n);
            var shown = question.ShownTo("ada");
            await queue.Answer("ada", $"{n}", question.Id, shown, question.IsCheck && places.Count == 1
                ? [.. shown.Select(id => id.StartsWith("check-", StringComparison.Ordinal) ? 0 : 1)]
                : [.. shown.Select(id => id.StartsWith("check-", StringComparison.Ordinal) ? 1 : shown[0] == id
                || shown[0].StartsWith("check-", StringComparison.Ordinal) ? 0 : 1)], null);
        }
        Assert.InRange(places.Count, 5, 8);
        var report = PreferenceReport.Of(store);
        Assert.Equal((30, 60), (report.Choices, report.Candidates));
        Assert.Equal((places.Count, places.Count - 1), (report.Raters[0].Checks, report.Raters[0].Passed));
        Assert.Equal(30, store.Choices().Sum(choice => choice.Pairs().Count())); // nothing is learned from checks
    }

    [Fact]
    public async Task Maker_DrawsAhead_AndGoesOnFromTheStore()
    {
        using var folder = new TempFolder();
        using var store = PreferenceStore.Open(folder.At("store"), create: true);
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        for (var total = 3; total <= 5; total += 2)
        {
            using var policy = Policy.OfBase(model);
            using var queue = new LabelQueue(store, new() { Mode = ChoiceMode.Best, Candidates = 3 });
            using var maker = new CandidateMaker(store, queue, () =>
                new Pipeline(policy, new() { Steps = 2 }, new() { Threads = 1 }), new(n => $"a cat {n}", 7, total, 64, "tiny"));
            Assert.True(queue.View("ada") is var begun && begun.Open + begun.Coming == total,
                "what is to be drawn counts from the beginning");
            for (var i = 0; i < 3600 && queue.IsGrowing; i++) await Task.Delay(50);
            Assert.Null(maker.Fault);
            Assert.Equal(total, queue.Questions);
            Assert.True(queue.View("ada") is { Coming: 0 } drawn && drawn.Open == total);
        }
        var candidates = store.Candidates().Where(candidate => !candidate.IsCheck).ToArray();
        Assert.Equal(Enumerable.Range(7, 15).Select(seed => (long?)seed), candidates.Select(candidate => candidate.Seed));
        Assert.Equal(["a cat 0", "a cat 1", "a cat 2", "a cat 3", "a cat 4"], candidates.Select(candidate => candidate.Prompt).Distinct());
        Assert.All(candidates, candidate => Assert.Equal(2, store.Folder.Trajectory(candidate)!.Timesteps.Length));
        Assert.False(store.Folder.Image(candidates[0]).SameAs(store.Folder.Image(candidates[1])));
    }

    private static Candidate Of(string id, string prompt) => new(id, prompt, $"images/{id}.png");

    private static IPreferenceStore Store(TempFolder folder, int prompts)
    {
        var store = PreferenceStore.Open(folder.At("store"), create: true);
        store.Add((Candidate[])[.. Enumerable.Range(0, prompts * 2).Select(i => store.Folder.Write(new RgbImage(16, 16), $"p{i / 2}"))]);
        return store;
    }
}
