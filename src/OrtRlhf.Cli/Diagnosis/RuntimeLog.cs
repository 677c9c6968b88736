using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>
/// What ONNX Runtime logs, kept off the screen: its faults come as errors, too. For some the log says more, which <c>doctor</c> shows.
/// </summary>
internal static class RuntimeLog
{
    private static readonly List<string> Messages = [];

    /// <summary>The first message since the last <see cref="Clear"/> in one line; null when there was none.</summary>
    public static string? Reason
    {
        get
        {
            lock (Messages) return Messages.Count == 0 ? null : DeviceReport.Shorten(Messages[0]);
        }
    }

    /// <summary>Begins to listen; before ONNX Runtime is used.</summary>
    public static void Listen()
    {
        try
        {
            OrtLibrary.Load();
            var options = new EnvironmentCreationOptions
            {
                logId = "ortrlhf",
                logLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
                loggingFunction = (_, _, _, _, _, message) => Add(message)
            };
            OrtEnv.CreateInstanceWithOptions(ref options);
        }
        catch (Exception fault) when (
            fault is UserError or TypeInitializationException or DllNotFoundException or EntryPointNotFoundException)
        {
            // Whoever needs ONNX Runtime says that it is missing; help and versions do not.
        }
    }

    /// <summary>Forgets what was said.</summary>
    public static void Clear()
    {
        lock (Messages) Messages.Clear();
    }

    private static void Add(string message)
    {
        lock (Messages)
        {
            if (Messages.Count < 100) Messages.Add(message);
        }
    }
}
