using OrtRlhf.Diffusion;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>How well an image fits its prompt, by the cosine of CLIP's embeddings; any image, any prompt.</summary>
public sealed class ClipReward : IReward
{
    /// <summary>The CLIP that ships, of drawn scenes.</summary>
    public const string Shipped = "models/shapes-clip";

    private readonly ClipEmbedder _clip;
    private readonly double _scale;
    private bool _isDisposed;

    private ClipReward(RewardName name, ClipEmbedder clip, double scale) => (Name, _clip, _scale) = (name.ToString(), clip, scale);

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>
    /// <c>clip-score[:FOLDER]</c>: <c>100 cos(E_image, E_text)</c>. CLIPScore (Hessel et al., 2021) with its usual factor 100, but negative
    /// values stay, so that
    /// there is something to climb from below. Option <c>#device=cpu|cuda|webgpu</c>.
    /// </summary>
    /// <param name="name">The name with the folder, or without one for <see cref="Shipped"/>.</param>
    /// <exception cref="UserError">The folder is missing, not whole, or not a CLIPModel.</exception>
    public static IReward Score(RewardName name)
    {
        var argument = new RewardArgument(name, "device");
        return new ClipReward(name, Open(argument, argument.Target), 100);
    }

    /// <summary>
    /// <c>pick-score:FOLDER</c>: <c>e^logit_scale cos(E_image, E_text)</c>, the score of preference models in CLIP's shape such as
    /// PickScore (Kirstain et al.,
    /// 2023). Option <c>#device</c>.
    /// </summary>
    /// <param name="name">The name with the folder.</param>
    /// <exception cref="UserError">The folder is missing, not whole, or not a CLIPModel.</exception>
    public static IReward Preference(RewardName name)
    {
        var argument = new RewardArgument(name, "device");
        var clip = Open(argument, argument.Target);
        try
        {
            return new ClipReward(name, clip, clip.Scale());
        }
        catch
        {
            clip.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public bool Fits(string prompt) => prompt.Length > 0; // a model that draws without prompts says ""

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var images = _clip.Images(inputs, cancellation);
        var scores = new float[inputs.Count];
        for (var i = 0; i < scores.Length; i++) scores[i] = (float)(_scale * Dot(images[i], _clip.Text(inputs[i].Prompt)));
        return scores;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!Interlocked.Exchange(ref _isDisposed, true)) _clip.Dispose();
    }

    /// <summary>Opens CLIP by a folder; where that is empty, the one that ships.</summary>
    internal static ClipEmbedder Open(RewardArgument argument, string folder)
    {
        if (folder.Length == 0 || (folder == Shipped && !Directory.Exists(folder)))
            folder = ShippedModel.Find(Shipped, "config.json") ?? throw argument.Fault(
                $"the CLIP that ships, '{Shipped}', was not found above '{Directory.GetCurrentDirectory()}'; name a folder");
        try
        {
            return ClipEmbedder.Open(folder, argument.Text("device") ?? "cpu");
        }
        catch (UserError fault)
        {
            throw new UserError($"{argument.Fault(fault.Message.TrimEnd('.')).Message}", fault);
        }
    }

    private static double Dot(float[] a, float[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++) sum += (double)a[i] * b[i];
        return sum;
    }
}
