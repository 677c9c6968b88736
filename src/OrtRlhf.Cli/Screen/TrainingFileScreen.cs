using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Tuning.Artifacts;

namespace OrtRlhf.Cli.Screen;

/// <summary>What a training file takes and gives, as its metadata says it.</summary>
internal static class TrainingFileScreen
{
    /// <summary>Writes inputs, trained tensors and outputs.</summary>
    public static void Show(TrainingFile file)
    {
        var trained = file.Parameters.Select(p => p.Name).ToHashSet(StringComparer.Ordinal);
        var notes = file.Graph.Metadata;
        Terminal.Line();
        Terminal.Line($"loss: {notes["ortrlhf.loss"]}");
        Terminal.Line("inputs:");
        foreach (var input in file.Graph.Inputs.Where(i =>
            !trained.Contains(i.Name) && notes.ContainsKey(i.Name))) Terminal.Line($"  {input.Name}: {notes[input.Name]}");
        Terminal.Line($"  {trained.Count} trained tensors, {file.Parameters.Sum(p => p.Initial.Count)} numbers: "
            + $"{file.Parameters[0].Name} {file.Parameters[0].Initial}, ...");
        Terminal.Line($"outputs: {string.Join(", ", file.Metrics.Prepend("loss"))}, and "
            + $"{file.Parameters[0].Name}{TrainingGraph.GradientSuffix}, ...");
    }
}
