using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Learning.Tests.Losses;

public sealed class NftTests
{
    private const int B = 3, N = 12;
    private static readonly float[] Output = Draw(1), Target = Draw(2), Old = Draw(3), Reference = Draw(4), Reward = [0.9f, 0.5f, 0.2f],
        Scale = [0.9f, 0.4f, 0.7f];

    [Theory]
    [InlineData(1, 0)]
    [InlineData(0.3, 0.5)]
    public void Loss_PlainWeight_MatchesFormulaAndFiniteDifference(double beta, double klWeight)
    {
        var options = new NftLossOptions { Beta = beta, AdaptiveWeight = false, KlWeight = klWeight };
        LossGraph.Check(Run(Output, Reward, options), Output, m =>
            Formula(m, beta, (error, b) => Square(error, b)) + klWeight * m.Zip(Reference, (v, r) => Math.Pow((double)v - r, 2)).Average());
    }

    // The weights carry no gradient: they stay as they are when the output moves.
    [Theory]
    [InlineData(1)]
    [InlineData(0.3)]
    public void Loss_AdaptiveWeight_MatchesFormulaAndFiniteDifference(double beta)
    {
        double[] Weights(double sign) =>
            [.. Enumerable.Range(0, B).Select(b =>
                Enumerable.Range(b * N, N).Average(i => Math.Abs(Scale[b] * Implicit(Output, i, sign * beta))))];
        var (positive, negative) = (Weights(1), Weights(-1));
        double Weighted(float[] m, int b, double step, double[] weights) =>
            Enumerable.Range(b * N, N).Average(i => Math.Pow(Scale[b] * Implicit(m, i, step), 2)) / weights[b];
        LossGraph.Check(Run(Output, Reward, new() { Beta = beta }), Output, m => Enumerable.Range(0, B).Average(b =>
            Reward[b] * Weighted(m, b, beta, positive) + (1 - Reward[b]) * Weighted(m, b, -beta, negative)));
    }

    // What the implicit policies mean: at the old policy good samples are attracted to, bad ones repelled, and r = 1/2 does neither.
    [Fact]
    public void Loss_AtTheOldPolicy_GradientIsSignedSupervision()
    {
        const double beta = 0.5;
        var gradient = Run(Old, [1, 0.5f, 0], new() { Beta = beta, AdaptiveWeight = false })["gradient"];
        for (var i = 0; i < gradient.Length; i++)
        {
            var sign = 1 - i / N;
            Assert.Equal(sign * beta * 2 * (Old[i] - Target[i]) / (B * N), gradient[i], 1e-6);
        }
    }

    [Fact]
    public void Loss_ExactOutput_IsFinite()
    {
        var values = Values(Target, Reward);
        values["old_output"] = Target;
        var result = LossGraph.Run([B, 3, 2, 2], values, m => Nft.Loss(NftSamples.Inputs(m, true), new()));
        Assert.Equal(0, result["loss"][0]);
        Assert.All(result["gradient"], g => Assert.Equal(0, g));
    }

    [Fact]
    public void Loss_Metrics_MatchFormula()
    {
        var result = Run(Output, Reward, new());
        Assert.Equal(Output.Zip(Target, (v, u) => Math.Pow((double)v - u, 2)).Average(), result["mse"][0], 1e-5);
        Assert.Equal(Output.Zip(Old, (v, u) => Math.Pow((double)v - u, 2)).Average(), result["old_deviation"][0], 1e-5);
        Assert.Equal(Output.Zip(Reference, (v, u) => Math.Pow((double)v - u, 2)).Average(), result["kl"][0], 1e-5);
    }

    [Fact]
    public void Rewards_FromAdvantages_AreProbabilities()
    {
        Assert.Equal([0, 0, 0.4f, 0.5f, 1], Nft.Rewards([-9, -5, -1, 0, 6], new()));
        var advantages = Advantage.PerGroup([1, 1, 0, 2], [0, 0, 1, 1], "r");
        Assert.Equal([0.5f, 0.5f, 0.4f, 0.6f], Nft.Rewards(advantages, new()).Select(r => MathF.Round(r, 5)));
    }

    [Fact]
    public void OldPolicyDecay_BeginsOnPolicyAndSlowsDown() =>
        Assert.Equal([0, 0.001, 0.25, 0.5, 0.5], ((int[])[0, 1, 250, 500, 9000]).Select(k => Nft.OldPolicyDecay(k, new())));

    [Fact]
    public void Validate_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() => new NftLossOptions
        {
            Beta = 0,
            AdvantageClip = 0,
            KlWeight = -1,
            DecayRate = -1,
            MaximumDecay = 1,
            LearningRate = 0
        }.Validate()).Message;
        Assert.All(["beta", "advantage clip", "KL weight", "decay rate", "maximum decay", "learning rate"], name =>
            Assert.Contains(name, message));
        var m = new OnnxGraph("loss").Input("output", ElementType.Float, 2, 1, 2, 2);
        Assert.Contains("reference",
            Assert.Throws<ArgumentException>(() => Nft.Loss(NftSamples.Inputs(m, false), new() { KlWeight = 1 })).Message);
    }

    private static Dictionary<string, float[]> Run(float[] output, float[] reward, NftLossOptions options) =>
        LossGraph.Run([B, 3, 2, 2], Values(output, reward), m => Nft.Loss(NftSamples.Inputs(m, true), options));

    private static Dictionary<string, float[]> Values(float[] output, float[] reward) => new()
    {
        ["output"] = output,
        ["target"] = Target,
        ["old_output"] = Old,
        ["reference"] = Reference,
        ["reward"] = reward,
        ["error_scale"] = Scale,
    };

    // Error of the implicit policy that lies a step from the old one towards the new one.
    private static double Implicit(float[] m, int i, double step) => (1 - step) * Old[i] + step * m[i] - Target[i];

    private static double Formula(float[] m, double beta, Func<Func<int, double>, int, double> error) => Enumerable.Range(0, B).Average(b =>
        Reward[b] * error(i => Implicit(m, i, beta), b) + (1 - Reward[b]) * error(i => Implicit(m, i, -beta), b));

    private static double Square(Func<int, double> error, int b) => Enumerable.Range(b * N, N).Average(i => Math.Pow(error(i), 2));

    private static float[] Draw(uint sample)
    {
        var values = new float[B * N];
        new Philox(6, 0, sample, 0).FillGaussian(values);
        return values;
    }
}
