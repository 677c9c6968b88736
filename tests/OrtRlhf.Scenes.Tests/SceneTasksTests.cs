namespace OrtRlhf.Scenes.Tests;

public class SceneTasksTests
{
    private static readonly SceneScore Right = new(true, 1, true, true, true, true, true);
    private static readonly SceneScore WrongColour = Right with { Correct = false, ColourRight = false };
    private static readonly SceneScore WrongShape = Right with { Correct = false, ShapeRight = false };
    private static readonly SceneScore WrongPlace = Right with { Correct = false, RelationRight = false };

    [Fact]
    public void Of_CaptionsCountInTheirTasks()
    {
        var tasks = SceneTasks.Of([(SceneKind.SingleObject, WrongColour), (SceneKind.SingleObject, Right),
            (SceneKind.TwoObjects, WrongPlace), (SceneKind.ColourAttribution, WrongColour), (SceneKind.TwoObjects, WrongShape)]);
        Assert.Equal(["single-object", "two-objects", "colours", "position", "colour-attribution"], tasks.Keys);
        Assert.Equal([1, 1, float.NaN, float.NaN, float.NaN], tasks["single-object"]);
        Assert.Equal([float.NaN, float.NaN, 1, 1, 0], tasks["two-objects"]);
        Assert.Equal([0, 1, float.NaN, float.NaN, float.NaN], tasks["colours"]);
        Assert.Equal([float.NaN, float.NaN, 0, float.NaN, 0], tasks["position"]);
        Assert.Equal([float.NaN, float.NaN, float.NaN, 0, float.NaN], tasks["colour-attribution"]);
        var estimates = SceneTasks.Estimates(tasks);
        Assert.Equal((1 + (2 / 3.0) + 0.5 + 0 + 0) / 5, estimates[SceneTasks.Overall].Mean, 1e-6);
        Assert.Equal((3, 5), (estimates["two-objects"].N, estimates[SceneTasks.Overall].N));
    }

    [Fact]
    public void Estimates_OverallsError_IsThatOfRepeatedTrials()
    {
        // One kind of caption counts in two tasks at once: taking them for independent would be wrong by a third.
        var random = new Random(5);
        var (means, error) = (new List<double>(), 0.0);
        for (var trial = 0; trial < 2000; trial++)
        {
            var images = Enumerable.Range(0, 60).Select(i => (i % 3 == 0 ? SceneKind.Counting : SceneKind.SingleObject,
                random.NextDouble() switch { < 0.4 => Right, < 0.6 => WrongColour, _ => WrongShape })).ToArray();
            var overall = SceneTasks.Estimates(SceneTasks.Of(images))[SceneTasks.Overall];
            means.Add(overall.Mean);
            error += overall.Stderr / 2000;
        }
        var mean = means.Average();
        Assert.Equal(1, Math.Sqrt(means.Sum(m => (m - mean) * (m - mean)) / 1999) / error, 0.06);
    }

    [Fact]
    public void Estimates_WithoutTasks_IsEmpty() => Assert.Empty(SceneTasks.Estimates(SceneTasks.Of([])));
}
