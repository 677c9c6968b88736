using Spectre.Console;

namespace OrtRlhf.Cli.Screen;

/// <summary>Where commands write for people: colours and live lines on a terminal, plain text when redirected.</summary>
internal static class Terminal
{
    private const int WidthRedirected = 160;

    /// <summary>Whether lines may be redrawn.</summary>
    public static bool IsLive { get; } = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not "dumb";

    /// <summary>The console; without colours when redirected or when NO_COLOR is set.</summary>
    public static IAnsiConsole Out { get; } = Create();

    /// <summary>Writes a line as it is.</summary>
    public static void Line(string text = "") => Console.Out.WriteLine(text);

    private static IAnsiConsole Create()
    {
        var colours = IsLive && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = IsLive ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = colours ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = IsLive ? InteractionSupport.Detect : InteractionSupport.No,
            Out = new AnsiConsoleOutput(Console.Out),
        });
        if (!IsLive) console.Profile.Width = WidthRedirected;
        return console;
    }
}
