namespace OrtRlhf.Scenes.Tests;

public sealed class SceneCaptionTests
{
    private static readonly SceneGroup RedCircle = new(1, SceneColour.Red, SceneShape.Circle);
    private static readonly SceneGroup BlueSquare = new(1, SceneColour.Blue, SceneShape.Square);

    public static TheoryData<string, SceneSpec> Examples => new()
    {
        { "a red circle", new(RedCircle) },
        { "a large blue square on a striped background", new(BlueSquare with { Size = SceneSize.Large }, Texture: SceneTexture.Striped) },
        { "two small red circles", new(RedCircle with { Count = 2, Size = SceneSize.Small }) },
        { "three green crosses", new(new SceneGroup(3, SceneColour.Green, SceneShape.Cross)) },
        { "four magenta triangles", new(new SceneGroup(4, SceneColour.Magenta, SceneShape.Triangle)) },
        { "a red circle left of a blue square", new(RedCircle, SceneRelation.LeftOf, BlueSquare) },
        { "a red circle right of a blue square", new(RedCircle, SceneRelation.RightOf, BlueSquare) },
        { "a red circle above a blue square", new(RedCircle, SceneRelation.Above, BlueSquare) },
        { "a red circle below a blue square", new(RedCircle, SceneRelation.Below, BlueSquare) },
        { "a red circle and a blue square", new(RedCircle, SceneRelation.And, BlueSquare) },
        {
            "two small red circles left of a large blue square on a plain background",
            new(RedCircle with { Count = 2, Size = SceneSize.Small }, SceneRelation.LeftOf,
                BlueSquare with { Size = SceneSize.Large }, SceneTexture.Plain)
        },
    };

    [Theory, MemberData(nameof(Examples))]
    public void Write_OfASpecification_ReadsAsEnglish(string caption, SceneSpec spec) => Assert.Equal(caption, SceneCaption.Write(spec));

    [Theory, MemberData(nameof(Examples))]
    public void Parse_OfACaption_ReturnsItsSpecification(string caption, SceneSpec spec) => Assert.Equal(spec, SceneCaption.Parse(caption));

    [Fact]
    public void Parse_OfEverySampledCaption_ReturnsWhatWasWritten()
    {
        for (ulong i = 0; i < 5000; i++)
        {
            var sample = SceneSampler.Sample(1, i);
            Assert.Equal(sample.Spec, SceneCaption.Parse(sample.Caption));
        }
    }

    [Fact]
    public void Parse_IgnoresCaseAndSpaces() =>
        Assert.Equal(new SceneSpec(RedCircle, SceneRelation.LeftOf, BlueSquare),
            SceneCaption.Parse("  A red  Circle left of A BLUE square "));

    [Theory]
    [InlineData("")]
    [InlineData("   ")]
    [InlineData("a")]
    [InlineData("red circle")]
    [InlineData("a circle")]
    [InlineData("a red")]
    [InlineData("a red circles")]
    [InlineData("two red circle")]
    [InlineData("five red circles")]
    [InlineData("a red small circle")]
    [InlineData("a medium red circle")]
    [InlineData("a red circle left a blue square")]
    [InlineData("a red circle left of")]
    [InlineData("a red circle of a blue square")]
    [InlineData("a red circle on a striped")]
    [InlineData("a red circle on striped background")]
    [InlineData("a red circle on a furry background")]
    [InlineData("a red circle on a striped background please")]
    [InlineData("a red circle and a blue square and a green cross")]
    [InlineData("a red circle left of a large red circle")]
    [InlineData("a dog")]
    public void Parse_OutsideTheGrammar_ReturnsNull(string text) => Assert.Null(SceneCaption.Parse(text));

    [Theory]
    [InlineData("a red circle", SceneKind.SingleObject)]
    [InlineData("two red circles", SceneKind.Counting)]
    [InlineData("a red circle above a red square", SceneKind.TwoObjects)]
    [InlineData("two red circles and a red square", SceneKind.ColourAttribution)]
    public void Kind_FollowsFromTheCaption(string caption, SceneKind kind) => Assert.Equal(kind, SceneCaption.Parse(caption)!.Kind);
}
