using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Advantages;

public class StepWeightsTests
{
    private static readonly SamplerTable Table = DdimTable.Build(new SchedulerConfig(), 10, eta: 1);

    [Fact]
    public void Noise_EveryStepsGradient_HasTheSameDeviation()
    {
        var weights = StepWeights.Of(Table, StepWeighting.Noise);

        var deviations = Table.StepsWithDensity.Select(s => weights[s] * Math.Abs(Table.Steps[s].CM) / Table.Steps[s].Sigma).ToArray();
        Assert.All(deviations, d => Assert.Equal(deviations[0], d, 1e-12));
        Assert.Equal(1, Table.StepsWithDensity.Average(s => weights[s]), 1e-12);
        Assert.True(weights[0] > 3 * weights[Table.StepsWithDensity[^1]], string.Join(' ', weights));
    }

    [Fact]
    public void Uniform_StepsWithDensity_CountOne()
    {
        var weights = StepWeights.Of(Table, StepWeighting.Uniform);

        Assert.All(Enumerable.Range(0, weights.Length), s => Assert.Equal(Table.StepsWithDensity.Contains(s) ? 1 : 0, weights[s]));
    }
}
