using System.Text.Json.Nodes;
using OrtRlhf.Tuning.Tests;

namespace OrtRlhf.Cli.Tests;

public class EvalTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void BaseAlone_ScoresSumsFromTheirParts()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("prompts.txt"), "a cat\na dog\n");
        string[] common = ["eval", model.Path, "--prompts", folder.At("prompts.txt"), "--images", "6", "--steps", "2", "--threads", "1"];
        var json = JsonNode.Parse(Cli.Run([.. common, "--json", "-", "--reward", "jpeg-compressibility,2*jpeg-compressibility-jpeg-incompressibility"]).Succeeds().Out)!;
        var (one, sum) = (json["rewards"]!["jpeg-compressibility"]!, json["rewards"]!["2*jpeg-compressibility-jpeg-incompressibility"]!);
        Assert.Equal(3 * (double)one["base"]!["mean"]!, (double)sum["base"]!["mean"]!, 4);
        Assert.Equal(6, (int)one["base"]!["n"]!);
        Assert.Null(one["adapter"]);
        Assert.InRange((double)json["diversityBase"]!, 1e-3, 1);

        var table = Cli.Run(common).Succeeds().Out;
        Assert.Contains("6 images of 2 prompts, seeds from 1000000, DDIM, 2 steps, eta 1, guidance 3", table);
        Assert.Matches(@"jpeg-compressibility +-\d+\.\d+ ± ", table);
        Assert.DoesNotContain("prompt-accuracy", table); // these are no captions of drawn scenes
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        Cli.Run("eval", model.Path, "--reward", "beauty").FailsWith(1, "unknown reward 'beauty'");
        Cli.Run("eval", model.Path, "--images", "1").FailsWith(2, "--images: expected 2 to 1000000, got 1");
        Cli.Run("eval", model.Path, "--prompt-kinds", "cats").FailsWith(2, "--prompt-kinds: expected single-object, two-objects, counting or colour-attribution, got 'cats'");
    }
}
