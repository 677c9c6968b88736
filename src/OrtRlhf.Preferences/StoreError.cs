using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>A store that cannot be asked or written now, whatever it is asked for: it is locked, full, damaged or gone.</summary>
/// <param name="message">The one line.</param>
/// <param name="inner">What the database said.</param>
public sealed class StoreError(string message, Exception inner) : UserError(message, inner);
