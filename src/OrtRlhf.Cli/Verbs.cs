using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Commands;

namespace OrtRlhf.Cli;

/// <summary>The table of commands. A line here makes a command known to the reader, the help and completion.</summary>
internal static class Verbs
{
    /// <summary>All, in the order in which help lists them.</summary>
    public static CommandTable All { get; } = new(
        typeof(TuneCommand),
        typeof(SampleCommand),
        typeof(EvalCommand),
        typeof(CompareCommand),
        typeof(LabelCommand),
        typeof(PreferencesCommand),
        typeof(RewardTrainCommand),
        typeof(ImportCommand),
        typeof(PackCommand),
        typeof(ArtifactsCommand),
        typeof(InspectCommand),
        typeof(BenchCommand),
        typeof(DoctorCommand),
        typeof(CompletionCommand));
}
