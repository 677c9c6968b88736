using OrtRlhf.Cli.Evaluations;

namespace OrtRlhf.Cli.Screen;

/// <summary>An evaluation as a table.</summary>
internal static class EvalScreen
{
    /// <summary>Shows it.</summary>
    public static void Show(Comparison comparison)
    {
        Terminal.Line($"model   {comparison.Model}{(comparison.Adapter is null ? "" : $" with {comparison.Adapter}")}");
        Terminal.Line($"drawn   {comparison.Images} images of {comparison.Prompts} prompts, seeds from {comparison.Seed}, "
            + $"{comparison.Sampler}, guidance {comparison.GuidanceScale}");
        Terminal.Line();
        var table = comparison.Adapter is null ? ScoreTable.New("reward", "base")
            : ScoreTable.New("reward", "base", "adapter", "difference, paired", "wins, %");
        foreach (var (name, compared) in comparison.Rewards)
        {
            Add(table, name, compared);
        }
        foreach (var (task, part) in comparison.GenEval) Add(table, $"GenEval {task} ({part.Base.N})", part);
        if (comparison.DiversityBase is { } diversity)
        {
            if (comparison.DiversityAdapter is { } after) table.Row("diversity", Numbers.Write(diversity), Numbers.Write(after),
                Numbers.Signed(after - diversity));
            else table.Row("diversity", Numbers.Write(diversity));
        }
        if (comparison.Kl is { } kl) table.Row("KL to base, nats", "0", Numbers.Write(kl), "");
        table.Write();
    }

    private static void Add(ScoreTable table, string name, Compared compared)
    {
        if (compared is { Adapter: { } adapter, Difference: { } difference })
        {
            var errors = difference.Stderr > 0 ? $" ({difference.Mean / difference.Stderr:+0.0;-0.0;0} se)" : "";
            table.Row(name, Numbers.Write(compared.Base), Numbers.Write(adapter), Numbers.Write(difference.Mean, difference.Stderr,
                signed: true) + errors, compared.WinRate is { } wins ? Numbers.Percent(wins) : "");
        }
        else table.Row(name, Numbers.Write(compared.Base));
    }
}
