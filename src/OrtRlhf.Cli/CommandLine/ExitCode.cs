namespace OrtRlhf.Cli.CommandLine;

/// <summary>What the process returns.</summary>
internal static class ExitCode
{
    /// <summary>The work is done.</summary>
    public const int Done = 0;

    /// <summary>The work failed or was stopped.</summary>
    public const int Failed = 1;

    /// <summary>The command line is wrong; nothing was begun.</summary>
    public const int WrongUsage = 2;
}
