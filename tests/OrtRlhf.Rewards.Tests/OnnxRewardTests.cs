using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Rewards.Tests;

public sealed class OnnxRewardTests
{
    [Fact]
    public void Score_OpenSize_MeanOfPixelsInUnitRange()
    {
        using var folder = new TempFolder();
        var file = Write(folder, "mean.onnx", g => g.Output(Mean(Images(g, "batch", "height", "width"), [1, 2, 3]), "score"));
        var inputs = Greys(Enumerable.Range(0, 11).Select(i => (byte)(i * 20)));
        Assert.Equal(inputs.Select(i => i.Image.Pixels[0] / 255.0), Score(file, inputs), (x, y) => Math.Abs(x - y) < 1e-6);
        Assert.Equal(Score(file, inputs), Score(file + "#batch=3#output=score", inputs));
    }

    [Fact]
    public void Score_FixedBatchAndSize_ResizesAndFillsUp()
    {
        using var folder = new TempFolder();
        var file = Write(folder, "fixed.onnx", g => g.Output(Mean(Images(g, 4, 5, 7), [1, 2, 3], keepDims: true).Reshape(4, 1), "logits"));
        Assert.Equal([0, 1 / 3.0, 2 / 3.0, 1, 1 / 3.0, 0], Score(file, Greys([0, 85, 170, 255, 85, 0])), (x, y) => Math.Abs(x - y) < 1e-6);
    }

    [Fact]
    public void Score_PreprocessorBeside_IsFollowed()
    {
        using var folder = new TempFolder();
        var file = Write(folder, "mean.onnx", g => g.Output(Mean(Images(g, "b", 6, 6), [1, 2, 3]), "score"));
        File.WriteAllText(folder.At("preprocessor_config.json"),
            """{"size":6,"crop_size":6,"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]}""");
        Assert.Equal([-1, 1], Score(file, Greys([0, 255])), (x, y) => Math.Abs(x - y) < 1e-6);
        File.WriteAllText(folder.At("preprocessor_config.json"), """{"size":8,"crop_size":8}""");
        Assert.Contains("takes 6x6, but preprocessor_config.json makes 8x8",
            Assert.Throws<UserError>(() => Score(file, Greys([0]))).Message);
    }

    [Fact]
    public void Score_Text_TakesTheTokensOfThePrompt()
    {
        using var folder = new TempFolder();
        // The number of tokens without padding, start and end included, plus the image's brightness, plus a thousandth of the sum of ids.
        var file = Write(folder, "text.onnx", g =>
        {
            var image = Mean(Images(g, "b", "h", "w"), [1, 2, 3]);
            var ids = Cast(g.Input("input_ids", ElementType.Int64, "b", "s"), ElementType.Float);
            var mask = Cast(g.Input("attention_mask", ElementType.Int64, "b", "s"), ElementType.Float);
            g.Output(image + Sum(mask, [1]) + (Sum(ids * mask, [1]) * 0.001), "score");
        });
        var inputs = new[] { new RewardInput(Grey(0), "ab"), new RewardInput(Grey(255), "c d e", 1) };
        Assert.Contains("no tokenizer in", Assert.Throws<UserError>(() => Score(file, inputs)).Message);
        TinyModel.WriteClip(folder.At("tokenizer"));
        // Letters have ids 2i, at the end of a word 2i+1; start 52, end 53.
        Assert.Equal([4 + 0.108, 1 + 5 + 0.105 + 0.021], Score(file, inputs), (x, y) => Math.Abs(x - y) < 1e-4);
    }

    [Fact]
    public void Parse_Faults_NameWhatDoesNotFit()
    {
        using var folder = new TempFolder();
        Assert.Contains("there is no file", Fails(folder.At("none.onnx")));
        File.WriteAllText(folder.At("text.onnx"), "not a model");
        Assert.Contains("ONNX Runtime does not take", Fails(folder.At("text.onnx")));
        Assert.Contains("expected one input of images",
            Fails(Write(folder, "flat.onnx", g => g.Output(Mean(g.Input("x", ElementType.Float, "b", 3), [1]), "score"))));
        Assert.Contains("expected 3 channels",
            Fails(Write(folder, "grey.onnx", g => g.Output(Mean(g.Input("x", ElementType.Float, "b", 1, 8, 8), [1, 2, 3]), "score"))));
        Assert.Contains("the input other", Fails(Write(folder, "more.onnx", g =>
            g.Output(Mean(Images(g, "b", 8, 8), [1, 2, 3]) + g.Input("other", ElementType.Float, "b"), "score"))));
        var two = Write(folder, "two.onnx", g =>
        {
            var x = Images(g, "b", 8, 8);
            g.Output(Mean(x, [1, 2, 3]), "one");
            g.Output(Mean(x, [2, 3]), "three");
        });
        Assert.Contains("has outputs one, three: choose", Fails(two));
        Assert.Contains("no output 'four'", Fails(two + "#output=four"));
        Assert.Contains("is [2,3] for 2 images", Assert.Throws<UserError>(() => Score(two + "#output=three", Greys([1, 2]))).Message);
        Assert.Contains("takes exactly 4 images",
            Fails(Write(folder, "rows.onnx", g => g.Output(Mean(Images(g, 4, 8, 8), [1, 2, 3]), "score")) + "#batch=2"));

        static string Fails(string argument)
        {
            var error = Assert.Throws<UserError>(() => RewardRegistry.Default.Parse("onnx:" + argument));
            Assert.DoesNotContain('\n', error.Message);
            return error.Message;
        }
    }

    private static Value Images(OnnxGraph graph, Dim batch, Dim height, Dim width) =>
        graph.Input("pixel_values", ElementType.Float, batch, 3, height, width);

    private static string Write(TempFolder folder, string name, Action<OnnxGraph> build)
    {
        var graph = new OnnxGraph("scorer");
        build(graph);
        OnnxFile.Write(graph, folder.At(name));
        return folder.At(name);
    }

    private static double[] Score(string argument, RewardInput[] inputs) =>
        Array.ConvertAll(RewardRegistry.Default.Parse("onnx:" + argument).Score(inputs), x => (double)x);

    private static RewardInput[] Greys(IEnumerable<byte> values) =>
        [.. values.Select((value, i) => new RewardInput(Grey(value), "a cat", i))];

    private static RgbImage Grey(byte value)
    {
        var image = new RgbImage(9, 9);
        image.MutablePixels.Fill(value);
        return image;
    }
}
