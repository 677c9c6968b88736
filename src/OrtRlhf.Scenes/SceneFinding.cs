namespace OrtRlhf.Scenes;

/// <summary>An object that <see cref="SceneReader"/> sees in a picture.</summary>
/// <param name="Colour">The nearest of the six colours by hue.</param>
/// <param name="Fits">Intersection over union with each shape's template, 0 to 1, indexed by <see cref="SceneShape"/>.</param>
/// <param name="X">Centre of the bounding box in pixels from the left edge.</param>
/// <param name="Y">Centre of the bounding box in pixels from the top edge.</param>
/// <param name="Extent">The longer side of the bounding box in pixels.</param>
/// <param name="Area">Pixels.</param>
public sealed record SceneFinding(SceneColour Colour, IReadOnlyList<float> Fits, float X, float Y, float Extent, int Area)
{
    /// <summary>The extent in pixels that parts small from large.</summary>
    public const float SizeBoundary = 20.5f;

    /// <summary>The least template fit of a shape that counts as drawn: what an ellipse of 4:3 has with a disc of its area.</summary>
    public const float LeastFit = 0.78f;

    /// <summary>The shape whose template fits best; null when none reaches <see cref="LeastFit"/>.</summary>
    public SceneShape? Shape
    {
        get
        {
            var best = 0;
            for (var i = 1; i < Fits.Count; i++)
                if (Fits[i] > Fits[best])
                    best = i;
            return Fits[best] >= LeastFit ? (SceneShape)best : null;
        }
    }

    /// <summary>Small below <see cref="SizeBoundary"/>, else large.</summary>
    public SceneSize Size => Extent < SizeBoundary ? SceneSize.Small : SceneSize.Large;
}
