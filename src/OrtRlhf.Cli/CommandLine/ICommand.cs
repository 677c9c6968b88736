namespace OrtRlhf.Cli.CommandLine;

/// <summary>A verb with its options, as they were parsed.</summary>
internal interface ICommand
{
    /// <summary>Does the work.</summary>
    /// <param name="cancellation">Cancelled by Ctrl-C or SIGTERM.</param>
    /// <returns>An <see cref="ExitCode"/>.</returns>
    /// <exception cref="UsageError">An option has an impossible value.</exception>
    /// <exception cref="Graph.UserError">The work failed in an expected way.</exception>
    /// <exception cref="OperationCanceledException">Stopped; a <see cref="Tuning.Epochs.TuningInterruptedException"/> says how to go
    /// on.</exception>
    int Run(CancellationToken cancellation);
}
