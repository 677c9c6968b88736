using System.Globalization;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Rewards.Tests;

public sealed class RewardRegistryTests
{
    private static readonly RewardRegistry Registry = new(
    [
        Constant("a", 1), Constant("b-c", 10), Constant("b", 100), Constant("d", 1000, fits: "dog"),
        new("minus-a", "minus a", () => new PerImageReward("minus-a", _ => -1), OppositeOf: "a"),
        new("broken", "NaN for the third sample", () => new PerImageReward("broken", input => input.Index == 2 ? float.NaN : 0)),
        new("short", "too few", () => new TooFew()),
        new("length", "the length of its argument", name =>
            new PerImageReward(name.ToString(), _ => name.Argument!.Length)) { Argument = "TEXT" },
    ]);

    [Theory]
    [InlineData("a", 1, "a")]
    [InlineData(" + a ", 1, "a")]
    [InlineData("-a", -1, "-a")]
    [InlineData("a+2*b", 201, "a+2*b")]
    [InlineData("a + 2 * b", 201, "a+2*b")]
    [InlineData("b*0.5 - a", 49, "0.5*b-a")]
    [InlineData("2*a-b-c", -8, "2*a-b-c")] // b-c is a reward of its own
    [InlineData("2*a - b - a*3", -101, "-a-b")]
    [InlineData("b-a", 99, "b-a")]
    [InlineData("a-1e1*b", -999, "a-10*b")]
    [InlineData(".25*b\t+\ta", 26, "0.25*b+a")]
    [InlineData("length:abc", 3, "length:abc")]
    [InlineData("2*length:a-b/c.d:e?f=1#g=2+a", 35, "2*length:a-b/c.d:e?f=1#g=2+a")]
    [InlineData("length:abc*2 - length:a-b + a", 4, "2*length:abc - length:a-b+a")]
    [InlineData("length:'a b+c*d'-a", 6, "length:\"a b+c*d\" - a")]
    [InlineData("length:\"it's\" + length:'it\"s'", 8, "length:\"it's\"+length:'it\"s'")]
    [InlineData("length:a+length:a", 2, "2*length:a")]
    public void Parse_Expression_Result(string expression, float expected, string name)
    {
        var reward = Registry.Parse(expression);
        Assert.Equal([expected], reward.Score(Inputs(1)));
        Assert.Equal(name, reward.Name);
        Assert.Equal([expected], Registry.Parse(reward.Name).Score(Inputs(1)));
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("  ", "is empty")]
    [InlineData("a+", "needs the name of a reward at the end")]
    [InlineData("2 a", "needs '*' at 'a'")]
    [InlineData("a b", "needs '+' or '-' at 'b'")]
    [InlineData("a++b", "needs the name of a reward at '+b'")]
    [InlineData("a*b", "needs a number after 'a*'")]
    [InlineData("a-a", "gives 'a' the weight 0")]
    [InlineData("1e999*a", "gives 'a' the weight")]
    [InlineData("a+x", "unknown reward 'x'")]
    [InlineData("a:b", "reward 'a' takes no argument, got 'b'")]
    [InlineData("length", "reward 'length' needs an argument: write length:TEXT")]
    [InlineData("length:", "needs an argument behind ':' at the end")]
    [InlineData("length:'ab", "has no end of the quotes")]
    [InlineData("beauty", "unknown reward 'beauty' in 'beauty': known are a, b, b-c, broken, d, length, minus-a, short")]
    public void Parse_Fault_ThrowsForUser(string expression, string expected)
    {
        var error = Assert.Throws<UserError>(() => Registry.Parse(expression));
        Assert.Contains(expected, error.Message);
        if (expression.Contains(':') || expression == "length") return;
        Assert.Contains("b-c", error.Message);
    }

    [Fact]
    public void Parse_Watched_FitThePromptsAndSayMore()
    {
        Assert.Equal(["b", "b-c", "broken", "short"], Registry.Parse("a", ["a cat"]).Watched.Select(reward => reward.Name));
        Assert.Equal(["b", "b-c", "broken", "d", "short"], Registry.Parse("minus-a", ["a dog"]).Watched.Select(reward => reward.Name));
        Assert.Empty(Registry.Parse("a").Watched);
        Assert.Equal(["length:ab"], Registry.Parse("a", ["a cat"], ["length:ab"]).Watched.Select(reward => reward.Name));
    }

    [Fact]
    public void Parse_RewardThatDoesNotFitAPrompt_ThrowsForUser() =>
        Assert.Contains("\"a cat\"", Assert.Throws<UserError>(() => Registry.Parse("d", ["a dog", "a cat"])).Message);

    [Fact]
    public void ScoreParts_GivesUnweightedPartsAndWatched()
    {
        var watching = new WeightedReward(Registry.Parse("a+2*b").Terms,
            [new PerImageReward("b", _ => 7), new PerImageReward("w", _ => 5)]);
        var scores = watching.ScoreParts(Inputs(3));
        Assert.Equal([201f, 201f, 201f], scores.Total);
        Assert.Equal(["a", "b", "w"], scores.Parts.Keys);
        Assert.Equal([100f, 100f, 100f], scores.Parts["b"]);
        Assert.Equal([5f, 5f, 5f], scores.Parts["w"]);
    }

    [Fact]
    public void ScoreParts_NaN_ThrowsForUserWithSampleAndPrompt()
    {
        var error = Assert.Throws<UserError>(() => Registry.Parse("a+broken").Score(Inputs(4)));
        Assert.Contains("reward 'broken': sample 2, prompt \"prompt 2\": expected a finite score, got NaN", error.Message);
    }

    [Fact]
    public void ScoreParts_WrongCount_ThrowsForUser() =>
        Assert.Contains("expected 2 scores", Assert.Throws<UserError>(() => Registry.Parse("short").Score(Inputs(2))).Message);

    [Fact]
    public void Score_Cancelled_Stops()
    {
        using var cancellation = new CancellationTokenSource();
        cancellation.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => Registry.Parse("a").Score(Inputs(2), cancellation.Token));
        Assert.ThrowsAny<OperationCanceledException>(() => JpegRewards.Compressibility.Score(Inputs(2), cancellation.Token));
    }

    [Fact]
    public void Name_InAnotherCulture_HasAPoint()
    {
        var before = CultureInfo.CurrentCulture;
        var comma = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        comma.NumberFormat.NumberDecimalSeparator = ",";
        CultureInfo.CurrentCulture = comma;
        try
        {
            Assert.Equal("0.5*a", Registry.Parse("0.5*a").Name);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public void JpegRewards_GoldenImages_MatchesReference()
    {
        var paths = Directory.GetFiles(GoldenFile.At("jpeg"), "*.npy").Order().ToArray();
        var inputs = paths.Select((path, i) => new RewardInput(NpyImage.Read(path), "x", i)).ToArray();
        float[] kilobytes = [5.454f, 10.461f, 1.871f, 2.907f, 1.501f, 2.761f]; // golden.json
        Assert.Equal(kilobytes.Select(k => -k), RewardRegistry.Default.Parse("jpeg-compressibility").Score(inputs), (x, y) =>
            Math.Abs(x - y) < 1e-5f);
        Assert.Equal(kilobytes, RewardRegistry.Default.Parse("jpeg-incompressibility").Score(inputs), (x, y) => Math.Abs(x - y) < 1e-5f);
    }

    [Theory]
    [InlineData("fake:a + fake:b", null, null, 2)]
    [InlineData("fake:a", null, "fake:b,fake:a", 3)]
    [InlineData("fake:a + fake:broken", "broken", null, 1)]
    [InlineData("fake:a + fake:b", "cannot score images of the prompt", null, 2)]
    [InlineData("fake:a", "unknown reward", "fake:b,nobody", 2)]
    public void Parse_AndDispose_LetGoOfEachRewardOnce(string expression, string? fault, string? watch, int expected)
    {
        var made = new List<Fake>();
        var registry = Registry.With(new("fake", "counts", name =>
            name.Argument == "broken" ? throw new UserError("broken") : Made(new Fake(name.ToString())))
        { Argument = "TEXT" });
        string[] prompts = fault?.Contains("prompt", StringComparison.Ordinal) == true ? ["no fake"] : ["a cat"];
        if (fault is null)
        {
            var reward = registry.Parse(expression, prompts, watch?.Split(',') ?? []);
            Assert.All(made, fake => Assert.Equal(0, fake.Disposed));
            reward.Dispose();
        }
        else Assert.Contains(fault, Assert.Throws<UserError>(() => registry.Parse(expression, prompts, watch?.Split(',') ?? [])).Message);
        Assert.Equal(expected, made.Count);
        Assert.All(made, fake => Assert.Equal(1, fake.Disposed));

        Fake Made(Fake fake)
        {
            made.Add(fake);
            return fake;
        }
    }

    internal static RewardInput[] Inputs(int count) =>
        [.. Enumerable.Range(0, count).Select(i => new RewardInput(new RgbImage(8, 8), $"prompt {i}", i))];

    private static RewardEntry Constant(string name, float value, string? fits = null) =>
        new(name, "constant", () => new PerImageReward(name, _ => value, fits is null ? null : prompt => prompt.Contains(fits)));

    private sealed class TooFew : IReward
    {
        public string Name => "short";

        public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default) => [0];
    }

    private sealed class Fake(string name) : IReward
    {
        public string Name => name;

        public int Disposed { get; private set; }

        public bool Fits(string prompt) => prompt != "no fake";

        public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default) => new float[inputs.Count];

        public void Dispose() => Disposed++;
    }
}
