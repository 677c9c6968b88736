using System.Text.Json.Nodes;
using OrtRlhf.Cli.Evaluations;
using OrtRlhf.Rewards;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Cli.Tests;

public class EvalTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void BaseAlone_ScoresSumsFromTheirParts()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("prompts.txt"), "a cat\na dog\n");
        string[] common = ["eval", model.Path, "--prompts", folder.At("prompts.txt"), "--images", "6", "--steps", "2", "--threads", "1"];
        var json = JsonNode.Parse(Cli.Run([.. common, "--json", "-", "--reward",
            "jpeg-compressibility,2*jpeg-compressibility-jpeg-incompressibility"]).Succeeds().Out)!;
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
    public void Adapter_WinsAreToldForEachReward_TiesHalf()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("prompts.txt"), "a cat\na dog\n");
        // B is zero: the adapter changes nothing
        Cli.Run("artifacts", "--model", model.Path, "--method", "mse", "--output", folder.At("nothing")).Succeeds();
        string[] common = ["eval", model.Path, "--adapter", folder.At("nothing", "adapter.safetensors"), "--prompts",
            folder.At("prompts.txt"), "--images", "4", "--steps", "2", "--threads", "1", "--reward", "jpeg-compressibility"];
        var result = Cli.Run([.. common, "--json", folder.At("eval.json")]).Succeeds();
        Assert.Matches(@"wins, %\s*\n", result.Out);
        Assert.Matches(@"jpeg-compressibility .*50\.0 ± 0\.0", result.Out);
        var wins = JsonNode.Parse(File.ReadAllText(folder.At("eval.json")))!["rewards"]!["jpeg-compressibility"]!["winRate"]!;
        Assert.Equal((0.5, 0, 4), ((double)wins["mean"]!, (double)wins["stderr"]!, (int)wins["n"]!));
    }

    [Fact]
    public void Comparison_CountsWinsOfEachSum()
    {
        var rewards = RewardSet.Parse(RewardRegistry.Default, ["jpeg-compressibility", "jpeg-compressibility-2*jpeg-incompressibility"],
            ["a cat"]);
        EvaluationResult Scores(params float[] kilobytes) =>
            new(kilobytes, new Dictionary<string, float[]>
            {
                ["jpeg-compressibility"] = [.. kilobytes.Select(k => -k)],
                ["jpeg-incompressibility"] = kilobytes
            }, null, null)
            {
                Images = [.. kilobytes.Select((_, i) => new EvaluatedImage("a cat", (ulong)i))],
            };
        var compared = Comparison.Of(rewards, Scores(4, 3, 2, 1), Scores(3, 3, 1, 2)).Rewards;
        Assert.All(compared.Values, c => Assert.Equal((0.625, 4), (c.WinRate!.Mean, c.WinRate.N))); // won, tied, won, lost
        Assert.All(compared.Values, c =>
            Assert.Equal(Math.Sqrt(((2 * 0.375 * 0.375) + (0.125 * 0.125) + (0.625 * 0.625)) / 3 / 4), c.WinRate!.Stderr, 1e-7));
        Assert.All(Comparison.Of(rewards, Scores(1, 2), null).Rewards.Values, c => Assert.Null(c.WinRate));
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        Cli.Run("eval", model.Path, "--reward", "beauty").FailsWith(1, "unknown reward 'beauty'");
        Cli.Run("eval", model.Path, "--images", "1").FailsWith(2, "--images: expected 2 to 1000000, got 1");
        Cli.Run("eval", model.Path, "--prompt-kinds", "cats")
            .FailsWith(2, "--prompt-kinds: expected single-object, two-objects, counting or colour-attribution, got 'cats'");
    }
}
