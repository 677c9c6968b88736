namespace OrtRlhf.Scenes;

/// <summary>How well a picture does what its caption asks.</summary>
/// <param name="Correct">Everything asked is there and no other object: count, colour, shape, size if named, relation.</param>
/// <param name="Partial">
/// Partial credit, 0 to 1, which rises as the picture comes closer: a reward to learn from. Above 0.8 for nearly every correct picture.
/// </param>
/// <param name="CountRight">As many objects as asked.</param>
/// <param name="ColourRight">Every object asked for has a counterpart of its colour.</param>
/// <param name="ShapeRight">Every object asked for has a counterpart of its shape.</param>
/// <param name="SizeRight">Every object asked for has a counterpart of its size, where the caption names one.</param>
/// <param name="RelationRight">The two groups, as far as found, stand as asked; true where the caption asks no spatial relation.</param>
public readonly record struct SceneScore(
    bool Correct, float Partial, bool CountRight, bool ColourRight, bool ShapeRight, bool SizeRight, bool RelationRight);
