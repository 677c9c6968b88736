using OrtRlhf.Graph.Files;
using OrtRlhf.Rewards.Training;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Tests;

public class RewardTrainTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void Run_ChoicesOfAReward_GiveARewardThatTuneTakes()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("prompts.txt"), "a {cat|dog|bird|fish} {in|on|by} a {box|tree}\n");
        string[] command = ["reward", "train", model.Path, "--reward", "jpeg-compressibility", "--choices", "20", "--prompts",
            folder.At("prompts.txt"), "--steps", "2", "--threads", "1",
            "--clip", TinyModel.WriteClip(folder.At("clip")), "--seed", "1"];
        var output = Cli.Run([.. command, "--rater", "best-worst", "--output", folder.At("best")]).Succeeds().Out;
        var summary = JsonFile.Read<RewardModelSummary>(folder.At("best", "reward.json"));
        Assert.Equal(20, summary.Trained + summary.Accuracy.N);
        Assert.Matches(
            $@"^predicts \d+\.\d% ± \d+\.\d of {summary.Accuracy.N} held-out choices \(\d.* of the {summary.Trained} it was fitted to; ridge \S+, temperature \d+\.\d\d\)\n", output);
        Assert.Contains("\ncalibration error 0.", output);

        // Other choices among the same images; adapters say what became of them.
        output = Cli.Run([.. command, "--lora-rank", "1", "--epochs", "1", "--output", folder.At("both")]).Succeeds().Out;
        Assert.NotEqual(summary.Ridge + summary.Temperature,
            JsonFile.Read<RewardModelSummary>(folder.At("both", "reward.json")) is var other ? other.Ridge + other.Temperature : 0);
        Assert.Matches(@"temperature \d+\.\d\d; (adapters of epoch 1|no adapters, choices left out were no likelier with them)\)\n",
            output);

        Cli.Run([.. TinyTune.Arguments(model.Path, folder, "run", reward: $"onnx:{folder.At("best")}"), "--watch", "jpeg-compressibility"])
            .Succeeds();
        var run = JsonFile.Read<RunSummary>(new RunFolder(folder.At("run")).Summary);
        Assert.Equal(["jpeg-compressibility", "onnx"], run.Rewards.Keys.Select(name => name.Split(':')[0]).Order());
        Assert.NotEqual(run.Reward.Before.Mean, run.Reward.After.Mean);
    }
}
