namespace OrtRlhf.Scenes;

/// <summary>One object of a scene.</summary>
/// <param name="Shape">Its silhouette.</param>
/// <param name="Colour">Its colour.</param>
/// <param name="Size">Its size class; <paramref name="Extent"/> is within that class.</param>
/// <param name="X">Centre of the bounding box in pixels from the left edge.</param>
/// <param name="Y">Centre of the bounding box in pixels from the top edge.</param>
/// <param name="Extent">Side in pixels of the square that the object fits in.</param>
public sealed record SceneObject(SceneShape Shape, SceneColour Colour, SceneSize Size, float X, float Y, float Extent);

/// <summary>The background of a scene: two greys and how they alternate.</summary>
/// <param name="Texture">The pattern.</param>
/// <param name="Light">The lighter grey level, 0 to 255.</param>
/// <param name="Dark">The darker grey level, 0 to 255; unused when plain.</param>
/// <param name="Tint">Added to red and taken from blue, in levels: warm or cool, far below an object's chroma.</param>
/// <param name="Pitch">Length in pixels of one period of stripes, checks or dots.</param>
/// <param name="Direction">0 to 7, steps of 45 degrees, for stripes and gradients.</param>
/// <param name="PhaseX">Offset of the pattern in pixels.</param>
/// <param name="PhaseY">Offset of the pattern in pixels.</param>
/// <param name="Inverted">Swaps the two greys.</param>
public sealed record SceneBackground(
    SceneTexture Texture, float Light, float Dark, float Tint, float Pitch, int Direction,
    float PhaseX, float PhaseY, bool Inverted);

/// <summary>A picture as data: objects that do not touch, on a background. <see cref="SceneDrawing"/> draws it.</summary>
/// <param name="Objects">1 to 4 objects, at least <see cref="Gap"/> pixels apart.</param>
/// <param name="Background">What is behind them.</param>
public sealed record Scene(IReadOnlyList<SceneObject> Objects, SceneBackground Background)
{
    /// <summary>Width and height of the picture in pixels.</summary>
    public const int Side = 64;

    /// <summary>Bytes of a picture: rows from the top, pixels from the left, red, green, blue.</summary>
    public const int ByteCount = Side * Side * 3;

    /// <summary>Least distance in pixels between the bounding squares of two objects, along one axis.</summary>
    public const float Gap = 4;

    /// <summary>Least distance in pixels between a bounding square and the picture's edge.</summary>
    public const float Margin = 2;
}
