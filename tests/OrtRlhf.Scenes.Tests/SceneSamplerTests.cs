using System.Security.Cryptography;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;

namespace OrtRlhf.Scenes.Tests;

public sealed class SceneSamplerTests
{
    [Fact]
    public void Sample_TheFirstThousand_DrawsTheScenesThatTheShippedModelWasTrainedOn()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (ulong i = 0; i < 1000; i++)
        {
            var sample = SceneSampler.Sample(7, i);
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes(sample.Caption));
            hash.AppendData(SceneDrawing.Draw(sample.Scene));
        }
        Assert.Equal("D5EAC10AF8CEEA21", Convert.ToHexString(hash.GetHashAndReset())[..16]);
    }

    [Fact]
    public void Sample_InAnyOrder_GivesTheSameScene()
    {
        var forward = Enumerable.Range(0, 50).Select(i => SceneDrawing.Draw(SceneSampler.Sample(3, (ulong)i).Scene)).ToArray();
        for (var i = 49; i >= 0; i--)
            Assert.Equal(forward[i], SceneDrawing.Draw(SceneSampler.Sample(3, (ulong)i).Scene));
        Assert.NotEqual(forward[0], SceneDrawing.Draw(SceneSampler.Sample(4, 0).Scene));
    }

    [Fact]
    public void Sample_ObjectsKeepApartAndInside()
    {
        for (ulong i = 0; i < 5000; i++)
        {
            var objects = SceneSampler.Sample(2, i).Scene.Objects;
            foreach (var item in objects)
            {
                var half = item.Extent / 2;
                Assert.InRange(item.X, Scene.Margin + half - 1e-3, Scene.Side - Scene.Margin - half + 1e-3);
                Assert.InRange(item.Y, Scene.Margin + half - 1e-3, Scene.Side - Scene.Margin - half + 1e-3);
            }
            foreach (var (a, b) in from a in objects from b in objects where !ReferenceEquals(a, b) select (a, b))
            {
                var apart = MathF.Max(MathF.Abs(a.X - b.X), MathF.Abs(a.Y - b.Y)) - (a.Extent + b.Extent) / 2;
                Assert.True(apart >= Scene.Gap - 1e-3, $"scene {i}: {apart} pixels between {a} and {b}");
            }
        }
    }

    [Fact]
    public void Sample_SceneSatisfiesItsCaption()
    {
        for (ulong i = 0; i < 3000; i++)
        {
            var (scene, spec) = SceneSampler.Sample(5, i);
            Assert.Equal(spec.ObjectCount, scene.Objects.Count);
            var (first, second) = (scene.Objects.Take(spec.First.Count).ToArray(), scene.Objects.Skip(spec.First.Count).ToArray());
            Assert.All(first, item => Assert.True(Fits(item, spec.First)));
            Assert.All(second, item => Assert.True(Fits(item, spec.Second!)));
            if (spec.Texture is { } texture)
                Assert.Equal(texture, scene.Background.Texture);
            foreach (var (a, b) in from a in first from b in second select (a, b))
                Assert.True(spec.Relation switch
                {
                    SceneRelation.LeftOf => a.X < b.X,
                    SceneRelation.RightOf => a.X > b.X,
                    SceneRelation.Above => a.Y < b.Y,
                    SceneRelation.Below => a.Y > b.Y,
                    _ => true,
                });
        }

        static bool Fits(SceneObject item, SceneGroup group) =>
            item.Colour == group.Colour && item.Shape == group.Shape && (group.Size is null || item.Size == group.Size);
    }

    [Fact]
    public void Sample_MixesKindsAndLeavesMostBackgroundsFree()
    {
        var samples = Enumerable.Range(0, 8000).Select(i => SceneSampler.Sample(6, (ulong)i)).ToArray();
        double Share(Func<SceneSample, bool> chosen) => (double)samples.Count(chosen) / samples.Length;
        Assert.Equal(0.40, Share(s => s.Spec.Kind == SceneKind.SingleObject), 0.02);
        Assert.Equal(0.30, Share(s => s.Spec.Kind == SceneKind.TwoObjects), 0.02);
        Assert.Equal(0.20, Share(s => s.Spec.Kind == SceneKind.Counting), 0.02);
        Assert.Equal(0.10, Share(s => s.Spec.Kind == SceneKind.ColourAttribution), 0.02);
        Assert.Equal(0.75, Share(s => s.Spec.Texture is null), 0.02);
        foreach (var texture in Enum.GetValues<SceneTexture>())
            Assert.Equal(1.0 / 5, Share(s => s.Scene.Background.Texture == texture), 0.02);
    }

    [Theory]
    [InlineData("four large red circles left of four large blue squares")]
    [InlineData("four large red circles right of a small blue square")]
    public void Compose_OfMoreThanFits_ThrowsForTheUser(string caption)
    {
        var error = Assert.Throws<UserError>(() => SceneSampler.Compose(SceneCaption.Parse(caption)!, 1, 1));
        Assert.Contains(caption, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Draw_BackgroundsAreNearlyGreyAndObjectsSaturated()
    {
        for (ulong i = 0; i < 500; i++)
        {
            var scene = SceneSampler.Sample(8, i).Scene;
            var bare = SceneDrawing.Draw(scene with { Objects = [] });
            for (var p = 0; p < bare.Length; p += 3)
                Assert.InRange(Math.Abs(bare[p] - bare[p + 2]), 0, 16);
            var full = SceneDrawing.Draw(scene);
            foreach (var item in scene.Objects)
            {
                var p = 3 * ((int)item.Y * Scene.Side + (int)item.X);
                Assert.Equal(ScenePalette.Rgb(item.Colour), (full[p], full[p + 1], full[p + 2]));
            }
        }
    }

    [Fact]
    public void Draw_IntoTooShortASpan_Throws() =>
        Assert.Throws<ArgumentException>(() => SceneDrawing.Draw(SceneSampler.Sample(1, 1).Scene, new byte[100]));

    [Fact]
    public void Draw_Textures_CostJpegBytes()
    {
        double MeanSize(SceneTexture texture) => Enumerable.Range(0, 100).Average(i =>
        {
            var spec = SceneSampler.Sample(9, (ulong)i).Spec with { Texture = texture };
            return ImageCodec.JpegSize(new RgbImage(Scene.Side, Scene.Side, SceneDrawing.Draw(SceneSampler.Compose(spec, 9, (ulong)i))));
        });
        var plain = MeanSize(SceneTexture.Plain);
        Assert.InRange(plain, 1200, 1700);
        foreach (var texture in new[] { SceneTexture.Striped, SceneTexture.Checkered, SceneTexture.Dotted })
            Assert.True(MeanSize(texture) > 1.4 * plain, $"{texture}: {MeanSize(texture)} bytes, plain {plain}");
    }
}
