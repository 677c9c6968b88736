using OrtRlhf.Cli.CommandLine;

namespace OrtRlhf.Cli.Tests;

public class CommandLineTests
{
    [Fact]
    public void NoVerb_GivesOverview()
    {
        var output = Cli.Run().Succeeds().Out;
        foreach (var verb in (string[])["tune", "sample", "eval", "import", "doctor"]) Assert.Contains($"\n  {verb} ", output);
        Assert.Contains("ortrlhf COMMAND --help", output);
    }

    [Fact]
    public void Version_NamesOnnxRuntime() =>
        Assert.Matches(@"^ortrlhf \d+\.\d+\.\d+ \(ONNX Runtime \d+\.\d+\.\d+, \.NET \d+", Cli.Run("--version").Succeeds().Out);

    [Theory]
    [InlineData("tune", "--method NAME", "--resume RUN", "jpeg-compressibility", "default 40")]
    [InlineData("sample", "--prompt TEXT", "--guidance-scale X", "--adapter FILE", "Default 10")]
    [InlineData("eval", "--json FILE", "prompt-accuracy", "Default 256", "KL to the base model")]
    [InlineData("label", "--mode NAME", "--host ADDRESS", "Default 5070", "--overlap N", "metadata.jsonl")]
    [InlineData("preferences", "--export FILE", "Pick-a-Pic", "kappa")]
    [InlineData("reward train", "--preferences STORE", "--rater NAME", "--lora-rank N", "--clip DIR", "Default 625", "Bradley-Terry",
        "without:LIST")]
    [InlineData("doctor", "--json", "which devices really work")]
    [InlineData("artifacts", "--lora-rank N", "ort-training", "Default 2000", "--all-weights")]
    [InlineData("inspect", "--json FILE", "--lora-targets A,B", "stand in the way of a gradient")]
    [InlineData("import", "--dtype TYPE", "--output DIR", "--lora-targets A,B", "unet/model.onnx", "model_index.json", "streamed")]
    public void Help_ExplainsWithExamplesAndDefaults(string verb, params string[] parts)
    {
        var output = Cli.Run(verb, "--help").Succeeds().Out;
        foreach (var part in parts) Assert.Contains(part, output);
        Assert.Contains("Examples:\n  # ", output);
        Assert.Contains($"  ortrlhf {verb}", output);
        Assert.All(output.Split('\n'), line => Assert.True(line.Length <= 140, line));
        Assert.Equal(output, Cli.Run("help", verb).Succeeds().Out);
    }

    [Theory]
    [InlineData("tune --epoch 3", "tune: unknown option '--epoch', did you mean '--epochs'?")]
    [InlineData("tune --guidence-scale 3", "did you mean '--guidance-scale'?")]
    [InlineData("sample --zzzzzzzz", "sample: unknown option '--zzzzzzzz'; ")]
    [InlineData("tuen", "unknown command 'tuen', did you mean 'tune'?")]
    [InlineData("frobnicate", "unknown command 'frobnicate', expected tune, ")]
    [InlineData("tune --epochs many", "option --epochs cannot be 'many', expected N")]
    [InlineData("tune --epochs", "option --epochs needs a value")]
    [InlineData("tune --epochs 3 --epochs 4", "option --epochs is given twice")]
    [InlineData("tune --epochs 0", "--epochs: expected 1 to 1000000, got 0")]
    [InlineData("tune --method ppo", "--method: expected ddpo, reinforce")]
    [InlineData("tune a b", "expected one MODEL, got 'b' as well")]
    [InlineData("tune --eta 0", "--eta: expected more than 0, got 0")]
    [InlineData("tune --learning-rate -1 --clip-range NaN",
        "--clip-range: expected a number in (0, 1), got NaN; --learning-rate: expected a number > 0, got -1")]
    [InlineData("tune --resume x --seed 3", "leave out --seed")]
    [InlineData("sample", "expected --prompt TEXT or --prompts FILE")]
    [InlineData("sample --prompt a --sampler heun",
        "--sampler: expected ddim, dpm-solver++, ddpm, euler, adams-bashforth, flow-grpo, dance-grpo, cps or noisy-euler, got 'heun'")]
    [InlineData("sample --prompt a --device tpu --steps 0",
        "--steps: expected 1 to 1000, got 0; --device: expected cpu, cuda or webgpu, got tpu")]
    [InlineData("tune --method dpo --prompts-per-epoch 240",
        "--prompts-per-epoch: expected at most half of the 240 images, so that each prompt has candidates to choose among")]
    [InlineData("tune --preferences store", "option --preferences: method ddpo has none; d3po, dpo, ipo, kto, sft, rwr have it")]
    [InlineData("tune --method dpo --kl-weight 1", "option --kl-weight: method dpo has none; ddpo, reinforce, flow-grpo, nft have it")]
    [InlineData("tune --method dpo --preferences store --images 8", "--images is of candidates that are drawn each epoch")]
    [InlineData("tune --nft-beta 2", "option --nft-beta is --beta since 0.2, of --method nft, not of ddpo")]
    [InlineData("tune --lr 3", "did you mean '--learning-rate'?")]
    [InlineData("tune --rank 3", "did you mean '--lora-rank'?")]
    [InlineData("tune --num_train_epochs 3", "did you mean '--epochs'?")]
    [InlineData("tune --num-inference-steps 3", "did you mean '--steps'?")]
    [InlineData("tune --train-batch-size 3", "did you mean '--micro-batch'?")]
    [InlineData("tune --mixed-precision fp16", "did you mean '--dtype'?")]
    [InlineData("tune --resume-from-checkpoint x", "did you mean '--resume'?")]
    [InlineData("tune --output-dir x", "did you mean '--output'?")]
    [InlineData("sample --output_dir x", "did you mean '--output'?")]
    [InlineData("tune --method dpo --expert-weights taste", "--expert-weights: expected names and numbers such as quality=1,taste=0.5")]
    [InlineData("reward train --output x --preferences store --expert-weights taste=NaN",
        "--expert-weights: expected names and numbers such as quality=1,taste=0.5")]
    [InlineData("reward train --output x --reward drawing-quality --lora-rank -1", "--lora-rank: expected 0 to 1024, got -1")]
    [InlineData("reward train --output x --reward drawing-quality --epochs 3",
        "--epochs and --learning-rate are of adapters; add --lora-rank N")]
    [InlineData("reward train --output x --reward drawing-quality --rater worst",
        "--rater: expected best-worst or top-bottom, got 'worst'")]
    [InlineData("reward train --output x", "expected either --preferences STORE, or --reward SUM")]
    [InlineData("reward", "unknown command 'reward', did you mean")]
    [InlineData("doctor now", "expected options only, got 'now' as well")]
    public void WrongUsage_SaysWhatIsExpected(string line, string message)
    {
        var error = Assert.Throws<UsageError>(() => new CommandLineReader(Verbs.All).Read(line.Split(' '))!.Run(CancellationToken.None));
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void WrongUsage_IsOneLineAndCode2() =>
        Cli.Run("tune", "--epoch", "3").FailsWith(2, "tune: unknown option '--epoch', did you mean '--epochs'?");
}
