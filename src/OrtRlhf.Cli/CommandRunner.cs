using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Diagnosis;
using OrtRlhf.Graph;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Cli;

/// <summary>From arguments to an exit code: reads, runs, and turns expected errors into one line.</summary>
internal static class CommandRunner
{
    /// <summary>Runs a command line.</summary>
    /// <param name="arguments">What follows the program's name.</param>
    /// <param name="cancellation">Cancelled by Ctrl-C or SIGTERM.</param>
    /// <returns>An <see cref="ExitCode"/>.</returns>
    public static int Run(string[] arguments, CancellationToken cancellation)
    {
        try
        {
            if (new CommandLineReader(Verbs.All).Read(arguments) is not { } command) return ExitCode.Done;
            RuntimeLog.Listen();
            return command.Run(cancellation);
        }
        catch (UsageError error)
        {
            return Fail(error.Message, ExitCode.WrongUsage);
        }
        catch (UserError error)
        {
            return Fail(error.Message, ExitCode.Failed);
        }
        catch (OperationCanceledException stopped) when (cancellation.IsCancellationRequested)
        {
            return Say(stopped is TuningInterruptedException run ? $"{run.Message}. Continue with 'ortrlhf tune --resume {run.Run}'"
                : "interrupted");
        }
        catch (IOException error) when (IsClosedPipe(error))
        {
            return ExitCode.Failed; // what reads our output has gone, as 'head' does
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return Fail(error.Message, ExitCode.Failed);
        }
        catch (Exception error)
        {
            Console.Error.WriteLine($"error: unexpected, please report it with these lines: {error}");
            return ExitCode.Failed;
        }
    }

    private static int Fail(string message, int code)
    {
        Say("error: " + OptionNames.InOptions(message));
        return code;
    }

    private static int Say(string message)
    {
        Console.Error.WriteLine(message.ReplaceLineEndings(" "));
        return ExitCode.Failed;
    }

    private static bool IsClosedPipe(IOException error) => error.Message.Contains("Broken pipe", StringComparison.Ordinal);
}
