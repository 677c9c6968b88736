using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;

namespace OrtRlhf.Pretrain;

/// <summary>The U-Net of <c>models/shapes</c>: output v = a noise - s x0 of x = a x0 + s noise.</summary>
internal sealed class ShapesDenoiser : IDenoiser
{
    private const string Part = "unet";
    private readonly NoiseSchedule _schedule = new(ShapesModel.Scheduler);

    public IReadOnlyDictionary<string, string> Configs { get; } =
        new Dictionary<string, string> { [Part] = ShapesModel.UnetJson, [TextTraining.Part] = ShapesModel.TextEncoderJson };

    public IReadOnlyDictionary<string, Tensor> Buffers { get; } = new Dictionary<string, Tensor>();

    public void WriteFrame(string folder) => ShapesModel.WriteFrame(folder);

    public Value Forward(OnnxGraph graph, Weights weights, Value sample, Value timestep, Value ids)
    {
        var text = ClipTextModel.Forward(new Module(graph, weights, TextTraining.Part), ShapesModel.TextEncoder, ids).LastHiddenState;
        return UNet2DConditionModel.Forward(new Module(graph, weights, Part), ShapesModel.Unet, sample, timestep, text);
    }

    // Logit-normal, as Stable Diffusion 3 draws them (Esser et al., 2024), shifted to high noise, where a picture's layout is decided: a
    // quarter is above 0.9.
    public float AddNoise(double z, ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> x, Span<float> target)
    {
        var count = _schedule.Length;
        var t = Math.Min(count - 1, (long)(count / (1 + Math.Exp(-(1.1 + (1.5 * z))))));
        _schedule.AddNoise(x0, noise, t, x);
        _schedule.Target(x0, noise, t, target);
        return t;
    }
}
