namespace OrtRlhf.Graph;

/// <summary>An expected error: its message is one line that says where, what, expected, got and what to do.</summary>
public sealed class UserError : Exception
{
    /// <summary>Makes the error from its one line.</summary>
    public UserError(string message) : base(message)
    {
    }

    /// <summary>Makes the error from its one line and the fault behind it.</summary>
    public UserError(string message, Exception inner) : base(message, inner)
    {
    }
}
