using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// How pleasing an image is: LAION's aesthetic predictor (Schuhmann, 2022), a linear or MLP head on CLIP's image embedding of length 1,
/// trained on ratings
/// from 1 to 10. Knows nothing of the prompt.
/// </summary>
public sealed class AestheticReward : IReward
{
    private readonly ClipEmbedder _clip;
    private readonly AestheticHead _head;
    private bool _isDisposed;

    private AestheticReward(RewardName name, ClipEmbedder clip, AestheticHead head) => (Name, _clip, _head) = (name.ToString(), clip, head);

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>
    /// <c>aesthetic:FILE[#clip=FOLDER][#device=D]</c>: the head's safetensors (a folder with just one beside CLIP's own will do), and the
    /// folder of the CLIP that
    /// it was trained on, by default the head's own folder.
    /// </summary>
    /// <param name="name">The name with the file.</param>
    /// <exception cref="UserError">The head or CLIP is missing, not valid, or they do not belong together.</exception>
    public static IReward Create(RewardName name)
    {
        var argument = new RewardArgument(name, "clip", "device");
        var file = Directory.Exists(argument.Target) ? HeadIn(argument) : argument.Target;
        if (!File.Exists(file)) throw argument.Fault($"there is no file '{file}'; expected the head's weights in safetensors");
        var head = Read(argument, file);
        var beside = Path.GetDirectoryName(Path.GetFullPath(file))!;
        var folder = argument.Text("clip") ?? (File.Exists(Path.Combine(beside, "config.json")) ? beside
            : throw argument.Fault($"no CLIP beside '{file}': name the folder of the one it was trained on, {file}#clip=FOLDER (LAION's "
                + $"heads take openai/clip-vit-large-patch14)"));
        var clip = ClipReward.Open(argument, folder);
        if (clip.Width != head.Weights.Length)
        {
            clip.Dispose();
            throw argument.Fault($"the head takes embeddings of {head.Weights.Length} numbers, but CLIP in '{folder}' gives "
                + $"{clip.Width}: use the CLIP it was trained on");
        }
        return new AestheticReward(name, clip, head);
    }

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default) =>
        Array.ConvertAll(_clip.Images(inputs, cancellation), embedding => (float)_head.Apply(embedding));

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!Interlocked.Exchange(ref _isDisposed, true)) _clip.Dispose();
    }

    private static AestheticHead Read(RewardArgument argument, string file)
    {
        try
        {
            return AestheticHead.Read(file);
        }
        catch (UserError fault)
        {
            throw new UserError(argument.Fault(fault.Message.TrimEnd('.')).Message, fault);
        }
    }

    private static string HeadIn(RewardArgument argument)
    {
        var files = Directory.GetFiles(argument.Target, "*.safetensors").Where(path =>
            !Path.GetFileName(path).StartsWith("model", StringComparison.Ordinal)).ToArray();
        return files is [var only] ? only
            : throw argument.Fault(
                $"expected one safetensors file beside the model's in '{argument.Target}', got {files.Length}: name the head's file");
    }
}
