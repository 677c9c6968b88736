namespace OrtRlhf.Scenes;

/// <summary>Some objects that look alike, as a caption names them.</summary>
/// <param name="Count">How many, 1 to 4.</param>
/// <param name="Colour">Their colour.</param>
/// <param name="Shape">Their shape.</param>
/// <param name="Size">Their size; null when the caption leaves it free.</param>
public sealed record SceneGroup(int Count, SceneColour Colour, SceneShape Shape, SceneSize? Size = null);

/// <summary>What a caption asks of a picture; see <see cref="SceneCaption"/> for the text of one.</summary>
/// <param name="First">The first group named.</param>
/// <param name="Relation">How the first group stands to the second; null exactly when there is no second.</param>
/// <param name="Second">The second group; null when the caption names only one.</param>
/// <param name="Texture">The background; null when the caption leaves it free.</param>
public sealed record SceneSpec(
    SceneGroup First, SceneRelation? Relation = null, SceneGroup? Second = null, SceneTexture? Texture = null)
{
    /// <summary>The groups in the order of the caption: one or two.</summary>
    public IReadOnlyList<SceneGroup> Groups => Second is null ? [First] : [First, Second];

    /// <summary>How many objects the picture must show.</summary>
    public int ObjectCount => First.Count + (Second?.Count ?? 0);

    /// <summary>The kind of prompt this is.</summary>
    public SceneKind Kind => Relation switch
    {
        null => First.Count == 1 ? SceneKind.SingleObject : SceneKind.Counting,
        SceneRelation.And => SceneKind.ColourAttribution,
        _ => SceneKind.TwoObjects,
    };
}
