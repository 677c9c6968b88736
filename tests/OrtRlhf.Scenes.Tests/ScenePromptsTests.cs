namespace OrtRlhf.Scenes.Tests;

public sealed class ScenePromptsTests
{
    [Theory]
    [InlineData(SceneKind.SingleObject, 54, 18)]
    [InlineData(SceneKind.Counting, 126, 42)]
    [InlineData(SceneKind.TwoObjects, 4800, 1500)]
    [InlineData(SceneKind.ColourAttribution, 400, 120)]
    public void Lists_OfAKind_AreApartParseAndLeaveTheBackgroundFree(SceneKind kind, int leastTraining, int leastHeldOut)
    {
        var (training, heldOut) = (ScenePrompts.Training(kind), ScenePrompts.HeldOut(kind));
        Assert.True(training.Count >= leastTraining, $"{training.Count}");
        Assert.True(heldOut.Count >= leastHeldOut, $"{heldOut.Count}");
        Assert.Empty(training.Intersect(heldOut));
        Assert.All(training.Concat(heldOut), prompt =>
        {
            var spec = SceneCaption.Parse(prompt);
            Assert.Equal(kind, spec?.Kind);
            Assert.Null(spec!.Texture);
        });
    }

    [Fact]
    public void HeldOut_CombinationsOfColourAndShape_NeverOccurInTraining()
    {
        foreach (var kind in new[] { SceneKind.SingleObject, SceneKind.Counting })
        {
            static HashSet<(SceneColour, SceneShape)> Subjects(IEnumerable<string> prompts) =>
                [.. prompts.Select(p => SceneCaption.Parse(p)!.First).Select(g => (g.Colour, g.Shape))];
            var (training, heldOut) = (Subjects(ScenePrompts.Training(kind)), Subjects(ScenePrompts.HeldOut(kind)));
            Assert.Empty(training.Intersect(heldOut));
            Assert.Equal(6, heldOut.Count);
            Assert.Equal(4, heldOut.Select(subject => subject.Item2).Distinct().Count());
        }
    }

    [Theory]
    [InlineData("a red circle left of a blue square", "a blue square right of a red circle")]
    [InlineData("a green cross above a red cross", "a red cross and a green cross")]
    public void IsHeldOut_OfAPairSaidTheOtherWayRound_IsTheSame(string one, string other) =>
        Assert.Equal(ScenePrompts.IsHeldOut(SceneCaption.Parse(one)!), ScenePrompts.IsHeldOut(SceneCaption.Parse(other)!));

    [Fact]
    public void Lists_Twice_AreTheSameAndEveryPromptCanBeDrawn()
    {
        Assert.Equal(ScenePrompts.Training(SceneKind.TwoObjects), ScenePrompts.Training(SceneKind.TwoObjects));
        foreach (var kind in Enum.GetValues<SceneKind>())
            foreach (var prompt in ScenePrompts.Training(kind).Concat(ScenePrompts.HeldOut(kind)))
                Assert.NotEmpty(SceneSampler.Compose(SceneCaption.Parse(prompt)!, 1, 1).Objects);
    }
}
