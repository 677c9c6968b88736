using System.Text.Json;
using OrtRlhf.Learning.Statistics;

namespace OrtRlhf.Scenes;

/// <summary>The tasks of GenEval (Ghosh et al. 2023), in its order.</summary>
public enum SceneTask
{
    /// <summary>One object of the shape and size asked, of any colour, and no other.</summary>
    SingleObject,

    /// <summary>Two groups, each as many as asked and of its shape, of any colour, wherever they are.</summary>
    TwoObjects,

    /// <summary>Two to four of the same: everything right.</summary>
    Counting,

    /// <summary>One object: everything right, its colour too.</summary>
    Colours,

    /// <summary>Two groups that stand as asked: everything right.</summary>
    Position,

    /// <summary>Two groups, each of its own colour: everything right.</summary>
    ColourAttribution,
}

/// <summary>
/// GenEval in small: the share of right images by task, and the mean of the tasks, over captions of drawn scenes. A caption is of one or
/// two tasks, as the
/// captions of one object ask for an object and for its colour.
/// </summary>
public static class SceneTasks
{
    /// <summary>Name of the mean of the tasks.</summary>
    public const string Overall = "overall";

    /// <summary>The name of a task, such as <c>colour-attribution</c>.</summary>
    public static string Name(SceneTask task) => JsonNamingPolicy.KebabCaseLower.ConvertName(task.ToString());

    /// <summary>
    /// Whether images are right, by task: 1 or 0, NaN where the caption is not of the task; tasks without an image are left out.
    /// </summary>
    /// <param name="images">Kind of the caption and the verifier's verdict on each image.</param>
    public static IReadOnlyDictionary<string, float[]> Of(IReadOnlyList<(SceneKind Kind, SceneScore Score)> images) =>
        Enum.GetValues<SceneTask>()
        .Select(task => (Name: Name(task),
            Right: images.Select(image => Right(task, image.Kind, image.Score) is { } right ? right ? 1f : 0 : float.NaN).ToArray()))
        .Where(task => task.Right.Any(float.IsFinite)).ToDictionary(task => task.Name, task => task.Right);

    /// <summary>Share right of each task with its standard error, and <see cref="Overall"/>, the mean of the tasks.</summary>
    /// <param name="tasks">A number for each image by task, NaN where it is not of the task: right or not, or the difference of two
    /// models.</param>
    /// <remarks>
    /// An image of two tasks counts in both. Its part of the overall mean is <c>sum_t x_t/(T n_t)</c>; images are independent, so the
    /// variances of the parts add
    /// up, taken within the images of the same tasks.
    /// </remarks>
    public static IReadOnlyDictionary<string, MeanEstimate> Estimates(IReadOnlyDictionary<string, float[]> tasks)
    {
        var result = tasks.ToDictionary(task => task.Key, task => MeanEstimate.Of([.. task.Value.Where(float.IsFinite)]));
        if (tasks.Count == 0) return result;
        var count = tasks.First().Value.Length;
        var parts = Enumerable.Range(0, count).Select(i => tasks.Where(task => float.IsFinite(task.Value[i]))
            .Aggregate((Of: "", Part: 0.0), (sum, task) =>
                (sum.Of + task.Key + ",", sum.Part + (task.Value[i] / ((double)tasks.Count * result[task.Key].N)))));
        var variance = parts.GroupBy(part => part.Of, part => part.Part).Sum(group => Variance([.. group]));
        result[Overall] = new MeanEstimate(tasks.Keys.Average(task => result[task].Mean), Math.Sqrt(variance), count);
        return result;
    }

    // Of the sum of n independent numbers: n s^2.
    private static double Variance(double[] numbers)
    {
        if (numbers.Length < 2) return 0;
        var mean = numbers.Average();
        return numbers.Sum(x => (x - mean) * (x - mean)) * numbers.Length / (numbers.Length - 1);
    }

    private static bool? Right(SceneTask task, SceneKind kind, SceneScore score) => (task, kind) switch
    {
        (SceneTask.SingleObject, SceneKind.SingleObject) => score.CountRight && score.ShapeRight && score.SizeRight,
        (SceneTask.TwoObjects, SceneKind.TwoObjects or SceneKind.ColourAttribution) => score.CountRight && score.ShapeRight,
        (SceneTask.Counting, SceneKind.Counting) => score.Correct,
        (SceneTask.Colours, SceneKind.SingleObject) => score.Correct,
        (SceneTask.Position, SceneKind.TwoObjects) => score.Correct,
        (SceneTask.ColourAttribution, SceneKind.ColourAttribution) => score.Correct,
        _ => null,
    };
}
