using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

/// <summary>The arguments of a run of a second or so on a tiny model.</summary>
internal static class TinyTune
{
    /// <summary>Arguments of <c>tune</c>.</summary>
    public static string[] Arguments(string model, TempFolder folder, string run, int epochs = 2, string reward = "jpeg-compressibility")
    {
        File.WriteAllText(folder.At("prompts.txt"), "a cat\na {red|blue} hat\na bird\n");
        return
        [
            "tune", model, "--prompts", folder.At("prompts.txt"), "--output", folder.At(run), "--epochs", $"{epochs}", "--reward", reward,
            "--images", "4", "--steps", "2", "--evaluation-images", "4", "--sample-images", "2", "--lora-rank", "2", "--threads", "1",
            "--seed", "3", "--micro-batch", "4", "--updates-per-pass", "2",
            "--learning-rate-decay", "constant", // some runs are resumed to other lengths, to which a falling rate would have to fit
        ];
    }
}
