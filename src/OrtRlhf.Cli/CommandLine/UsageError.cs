namespace OrtRlhf.Cli.CommandLine;

/// <summary>A command line that cannot be meant: its message is one line that says what was expected.</summary>
internal sealed class UsageError(string message) : Exception(OptionNames.InOptions(message));
