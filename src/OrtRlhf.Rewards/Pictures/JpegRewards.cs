using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Rewards;

/// <summary>
/// The size of an image as a JPEG of quality 95, as Pillow writes it, in kB (1000 bytes), after Black et al., "Training
/// Diffusion Models with Reinforcement Learning" (DDPO), 2023, section 5. Needs no model and no label, and is easy to hack:
/// the smallest file is an empty image.
/// </summary>
public static class JpegRewards
{
    /// <summary><c>jpeg-compressibility</c>: minus the size in kB.</summary>
    public static IReward Compressibility { get; } = new PerImageReward("jpeg-compressibility", input => -Kilobytes(input));

    /// <summary><c>jpeg-incompressibility</c>: the size in kB.</summary>
    public static IReward Incompressibility { get; } = new PerImageReward("jpeg-incompressibility", Kilobytes);

    private static float Kilobytes(RewardInput input) => ImageCodec.JpegSize(input.Image) / 1000f;
}
