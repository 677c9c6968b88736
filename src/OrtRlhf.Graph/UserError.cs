namespace OrtRlhf.Graph;

/// <summary>
/// An expected error: its message is one line that says where, what, expected, got and what to do. Names in it may come from files of
/// anyone:
/// control characters become spaces, and what is longer than 1000 characters is cut.
/// </summary>
public class UserError : Exception
{
    private const int Longest = 1000;

    /// <summary>Makes the error from its one line.</summary>
    public UserError(string message) : base(OneLine(message))
    {
    }

    /// <summary>Makes the error from its one line and the fault behind it.</summary>
    public UserError(string message, Exception? inner) : base(OneLine(message), inner)
    {
    }

    private static string OneLine(string message)
    {
        if (message.Length > Longest) message = message[..(Longest - 3)] + "...";
        return message.Any(char.IsControl) ? string.Create(message.Length, message, (line, text) =>
        {
            for (var i = 0; i < line.Length; i++) line[i] = char.IsControl(text[i]) ? ' ' : text[i];
        }) : message;
    }
}
