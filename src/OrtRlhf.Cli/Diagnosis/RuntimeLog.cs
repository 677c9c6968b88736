using Microsoft.ML.OnnxRuntime;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>What ONNX Runtime logs: for some faults its errors say less than its log. One a process, made before ONNX Runtime is used.</summary>
internal sealed class RuntimeLog
{
    private readonly List<string> _messages = [];

    /// <summary>Begins to listen.</summary>
    public RuntimeLog()
    {
        var options = new EnvironmentCreationOptions
        {
            logId = "ortrlhf",
            logLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
            loggingFunction = (_, _, _, _, _, message) => Add(message),
        };
        OrtEnv.CreateInstanceWithOptions(ref options);
    }

    /// <summary>The first message since the last <see cref="Clear"/> in one line; null when there was none.</summary>
    public string? Reason
    {
        get
        {
            lock (_messages) return _messages.Count == 0 ? null : DeviceReport.Shorten(_messages[0]);
        }
    }

    /// <summary>Forgets what was said.</summary>
    public void Clear()
    {
        lock (_messages) _messages.Clear();
    }

    private void Add(string message)
    {
        lock (_messages) _messages.Add(message);
    }
}
