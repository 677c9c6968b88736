using System.Text.Json.Nodes;
using System.Xml.Linq;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class CompareTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void Runs_OfEqualOptionsButTheSeed_AreOneLineWithTheirMeanAndSpread()
    {
        using var folder = new TempFolder();
        Tune("a", "3", "jpeg-compressibility");
        Tune("b", "4", "jpeg-compressibility");
        Tune("other", "3", "jpeg-compressibility", "--method", "es", "--population", "2", "--prompts-per-epoch", "2");
        var output = Cli.Run("compare", folder.At("a"), folder.At("other"), folder.At("b"), "--output", folder.At("out")).Succeeds().Out;
        Assert.Matches(@"ddpo\n[\s\S]*2 runs, 8 images[\s\S]*jpeg-compressibility .* ± [\s\S]*es\n[\s\S]*1 run, 8 images", output);

        var groups = JsonNode.Parse(File.ReadAllText(folder.At("out/comparison.json")))!.AsArray();
        Assert.Equal(["ddpo", "es"], groups.Select(g => (string)g!["name"]!));
        Assert.Equal([folder.At("a"), folder.At("b")], groups[0]!["runs"]!.AsArray().Select(r => (string)r!));
        var (a, b) = (Summary("a"), Summary("b"));
        var change = groups[0]!["quantities"]!["reward"]!["change"]!;
        Assert.NotEqual(a, b);
        Assert.Equal((a + b) / 2, (double)change["mean"]!, 5);
        Assert.Equal(Math.Abs(a - b) / Math.Sqrt(2), (double)change["stddev"]!, 5);
        Assert.Equal([4L, 8L], groups[0]!["curve"]!.AsArray().Select(p => (long)p!["images"]!));

        var table = File.ReadAllLines(folder.At("out/comparison.md"));
        Assert.Equal(4, table.Length);
        Assert.StartsWith("| ddpo | 2 | 8 | ", table[2]);
        Assert.StartsWith("| es | 1 | 8 | ", table[3]);
        Assert.Equal(["ddpo", "es"], XDocument.Load(folder.At("out/comparison.svg")).Descendants().Where(e => e.Name.LocalName == "text")
            .Select(e => e.Value).TakeLast(2));

        // Rewards of different scales do not compare; what both measured does.
        Tune("large", "3", "jpeg-incompressibility", "--watch", "jpeg-compressibility");
        output = Cli.Run("compare", folder.At("a"), folder.At("large"), "--output", folder.At("two")).Succeeds().Out;
        Assert.Contains("without curves", output);
        Assert.DoesNotContain("reward ", output.Split("written")[0]);
        Assert.False(File.Exists(folder.At("two/comparison.svg")));
        Assert.Contains("jpeg-compressibility",
            Cli.Run("compare", folder.At("a"), folder.At("large"), "--show", "jpeg-compressibility").Succeeds().Out);
        Cli.Run("compare", folder.At("a"), folder.At("large"), "--show", "reward")
            .FailsWith(2, "--show: 'reward' is not what all of these runs measured");

        Tune("groups", "3", "jpeg-compressibility", "--method", "flow-grpo", "--prompts-per-epoch", "2");
        Assert.Matches("ddpo\n[\\s\\S]*flow-grpo\n", Cli.Run("compare", folder.At("a"), folder.At("groups")).Succeeds().Out);

        // What cannot be compared, in one line.
        Cli.Run("compare", folder.At("a"), folder.At("a") + "/").FailsWith(1, "is there twice");
        Cli.Run("compare", folder.At("a"), folder.At("none")).FailsWith(1, "expected the folder of a run");
        Cli.Run("compare", folder.At("a"), "--show", "beauty")
            .FailsWith(2, "--show: 'beauty' is not what all of these runs measured; they have reward, jpeg-compressibility");
        Cli.Run("compare").FailsWith(2, "expected the folders of finished runs");
        File.Delete(folder.At("b/summary.json"));
        Cli.Run("compare", folder.At("a"), folder.At("b")).FailsWith(1, "is not finished", "resume it");

        void Tune(string run, string seed, string reward, params string[] more) =>
            Cli.Run([.. TinyTune.Arguments(model.Path, folder, run, reward: reward).TakeWhile(argument => argument != "--seed"), "--seed",
                seed, .. more]).Succeeds();

        double Summary(string run)
        {
            var reward = JsonNode.Parse(File.ReadAllText(folder.At(run + "/summary.json")))!["reward"]!;
            return (double)reward["after"]!["mean"]! - (double)reward["before"]!["mean"]!;
        }
    }
}
