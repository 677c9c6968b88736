namespace OrtRlhf.Scenes;

/// <summary>The shapes of a scene: four, chosen so that silhouettes of 15 pixels stay apart after a blur.</summary>
public enum SceneShape
{
    /// <summary>A disc; its area is pi/4 of its bounding box.</summary>
    Circle,
    /// <summary>An upright square that fills its bounding box.</summary>
    Square,
    /// <summary>An isosceles triangle that points up; half of its bounding box.</summary>
    Triangle,
    /// <summary>An upright plus sign.</summary>
    Cross,
}

/// <summary>The six object colours, saturated and about 60 degrees of hue apart.</summary>
public enum SceneColour
{
    /// <summary>Hue 0.</summary>
    Red,
    /// <summary>Hue 53.</summary>
    Yellow,
    /// <summary>Hue 129.</summary>
    Green,
    /// <summary>Hue 183.</summary>
    Cyan,
    /// <summary>Hue 229.</summary>
    Blue,
    /// <summary>Hue 308.</summary>
    Magenta,
}

/// <summary>The two object sizes; nothing is drawn between them.</summary>
public enum SceneSize
{
    /// <summary>15 to 17 pixels wide.</summary>
    Small,
    /// <summary>25 to 28 pixels wide.</summary>
    Large,
}

/// <summary>The background textures. All are nearly grey, so that chroma finds the objects.</summary>
public enum SceneTexture
{
    /// <summary>One grey.</summary>
    Plain,
    /// <summary>Stripes of two greys: vertical or horizontal.</summary>
    Striped,
    /// <summary>A checkerboard of two greys.</summary>
    Checkered,
    /// <summary>Dots on a square grid.</summary>
    Dotted,
    /// <summary>A linear ramp between two greys.</summary>
    Gradient,
}

/// <summary>How the first group of a caption stands to the second.</summary>
public enum SceneRelation
{
    /// <summary>Both are there, anywhere: "and".</summary>
    And,
    /// <summary>"left of".</summary>
    LeftOf,
    /// <summary>"right of".</summary>
    RightOf,
    /// <summary>"above".</summary>
    Above,
    /// <summary>"below".</summary>
    Below,
}

/// <summary>The kinds of prompt, named as in GenEval (Ghosh et al. 2023).</summary>
public enum SceneKind
{
    /// <summary>One object: "a large red circle".</summary>
    SingleObject,
    /// <summary>Two groups and a spatial relation: "a red circle left of a blue square".</summary>
    TwoObjects,
    /// <summary>Two to four of the same: "three green crosses".</summary>
    Counting,
    /// <summary>Two groups anywhere: "a red circle and a blue square".</summary>
    ColourAttribution,
}
