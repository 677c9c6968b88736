using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public class ForwardStepTests
{
    private static readonly float[] X0 = [1, -2, 0.5f], Noise = [0.3f, 1, -1];

    [Theory]
    [InlineData(PredictionType.Epsilon)]
    [InlineData(PredictionType.Velocity)]
    [InlineData(PredictionType.Sample)]
    public void OfDiffusion_IsTheSchedules(PredictionType prediction)
    {
        var schedule = new NoiseSchedule(new SchedulerConfig { Prediction = prediction });
        var step = ForwardStep.Of(schedule, 400);
        float[] x = new float[3], target = new float[3], expected = new float[3];
        schedule.AddNoise(X0, Noise, 400, expected);
        step.AddNoise(X0, Noise, x);
        Assert.Equal(expected, x);
        schedule.Target(X0, Noise, 400, expected);
        step.Target(X0, Noise, target);
        Assert.Equal(expected, target);
        var (a, s) = (schedule.Signal(400), schedule.Noise(400));
        Assert.Equal(prediction switch { PredictionType.Epsilon => s / a, PredictionType.Velocity => s, _ => 1 }, step.ErrorScale, 1e-12);
    }

    [Fact]
    public void OfFlow_IsTheLineFromNoiseToImage()
    {
        var step = ForwardStep.Of(new FlowSchedule(new FlowSchedulerConfig()), 0.25);
        Assert.Equal((250, 0.25), (step.Time, step.ErrorScale));
        float[] x = new float[3], target = new float[3];
        step.AddNoise(X0, Noise, x);
        step.Target(X0, Noise, target);
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(0.75 * X0[i] + 0.25 * Noise[i], x[i], 1e-6);
            Assert.Equal(Noise[i] - X0[i], target[i], 1e-6);
            // What the target says of the clean sample.
            Assert.Equal(X0[i], x[i] - 0.25 * target[i], 1e-6);
        }
    }
}
