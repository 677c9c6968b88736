using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning;
using OrtRlhf.Tests;

namespace OrtRlhf.Rewards.Tests;

public sealed class AestheticRewardTests
{
    private static readonly (string Name, long Out, long In)[] Mlp = [("layers.0", 12, 8), ("layers.2", 6, 12), ("layers.4", 5, 6),
        ("layers.6", 3, 5), ("layers.7", 1, 3)];

    [Fact]
    public void Head_MlpWithoutActivations_IsLayerBehindLayer()
    {
        using var folder = new TempFolder();
        var tensors = Layers(Mlp);
        SafetensorsFile.Write(folder.At("head.safetensors"), tensors);
        var x = new float[8];
        new Philox(5, 0, 0, 0).FillGaussian(x);
        var h = Array.ConvertAll(x, v => (double)v);
        foreach (var (name, rows, columns) in Mlp)
        {
            var (w, b) = (tensors[name + ".weight"].ToFloats(), tensors[name + ".bias"].ToFloats());
            h = [.. Enumerable.Range(0, (int)rows).Select(i =>
                b[i] + Enumerable.Range(0, (int)columns).Sum(j => w[(i * columns) + j] * h[j]))];
        }
        Assert.Equal(h[0], AestheticHead.Read(folder.At("head.safetensors")).Apply(x), 1e-6);
    }

    [Fact]
    public void Score_LinearHead_ReadsTheUnitEmbedding_BesideClipOrElsewhere()
    {
        using var folder = new TempFolder();
        var clip = TinyModel.WriteClip(folder.At("clip"));
        // The first number of the embedding plus 5: two heads for the first and second tell them apart.
        Write(folder.At("first.safetensors"), [1, 0, 0, 0, 0, 0, 0, 0], 5);
        Write(folder.At("clip", "head.safetensors"), [0, 0, 0, 0, 0, 0, 0, 0], 7);
        var inputs = RewardRegistryTests.Inputs(3);
        var scores = RewardRegistry.Default.Parse($"aesthetic:{folder.At("first.safetensors")}#clip={clip}").Score(inputs);
        Assert.All(scores, score => Assert.InRange(score, 4f, 6f));
        Assert.NotEqual(5, scores[0]);
        Assert.Equal([7f, 7f, 7f], RewardRegistry.Default.Parse($"aesthetic:{clip}").Score(inputs));
        Assert.Equal([7f, 7f, 7f], RewardRegistry.Default.Parse($"aesthetic:{Path.Combine(clip, "head.safetensors")}").Score(inputs));

        static void Write(string path, float[] weight, float bias) =>
            SafetensorsFile.Write(path,
                new Dictionary<string, Tensor> { ["weight"] = Tensor.Of(weight, 1, weight.Length), ["bias"] = Tensor.Of([bias], 1) });
    }

    [Fact]
    public void Parse_Faults_AreOneLineThatNamesThem()
    {
        using var folder = new TempFolder();
        var clip = TinyModel.WriteClip(folder.At("clip"));
        SafetensorsFile.Write(folder.At("wide.safetensors"), Layers([("layers.0", 1, 768)]));
        SafetensorsFile.Write(folder.At("two.safetensors"), Layers([("layers.0", 2, 8)]));
        SafetensorsFile.Write(folder.At("apart.safetensors"), Layers([("layers.0", 4, 8), ("layers.2", 1, 5)]));
        Assert.Contains("takes embeddings of 768 numbers, but CLIP", Fails($"aesthetic:{folder.At("wide.safetensors")}#clip={clip}"));
        Assert.Contains("one number out", Fails($"aesthetic:{folder.At("two.safetensors")}#clip={clip}"));
        Assert.Contains("layers.0.weight: expected a matrix [5, inputs]", Fails($"aesthetic:{folder.At("apart.safetensors")}#clip={clip}"));
        Assert.Contains("no CLIP beside", Fails($"aesthetic:{folder.At("wide.safetensors")}"));
        Assert.Contains("there is no file", Fails($"aesthetic:{folder.At("none.safetensors")}"));
        Assert.Contains("got 0: name the head's file", Fails($"aesthetic:{clip}"));
        Assert.Contains("needs an argument", Fails("aesthetic"));

        static string Fails(string expression)
        {
            var error = Assert.Throws<UserError>(() => RewardRegistry.Default.Parse(expression));
            Assert.DoesNotContain('\n', error.Message);
            return error.Message;
        }
    }

    private static Dictionary<string, Tensor> Layers((string Name, long Out, long In)[] layers)
    {
        var tensors = new Dictionary<string, Tensor>();
        foreach (var (name, rows, columns) in layers)
        {
            var (w, b) = (new float[rows * columns], new float[rows]);
            new Philox(4, 0, (uint)tensors.Count, 0).FillGaussian(w);
            new Philox(4, 1, (uint)tensors.Count, 0).FillGaussian(b);
            (tensors[name + ".weight"], tensors[name + ".bias"]) = (Tensor.Of(w, rows, columns), Tensor.Of(b, rows));
        }
        return tensors;
    }
}
