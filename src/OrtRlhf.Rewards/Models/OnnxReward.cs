using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// A number an image from any ONNX model. Its input of rank 4 takes images [B,3,H,W], float or half, prepared as the
/// preprocessor_config.json beside the file
/// says, else as numbers in [0,1] at the model's own size (or the images' where that is open). <c>input_ids</c> and <c>attention_mask</c>,
/// where the model has
/// them, take the prompt by the tokenizer beside the file. Its output is one number an image, [B] or [B,1]; of <c>logits_per_image</c> the
/// image's own prompt.
/// </summary>
public sealed class OnnxReward : IReward
{
    private readonly InferenceSession _session;
    private readonly OnnxRewardInputs _inputs;
    private readonly string _output;
    private readonly int _batch;
    private readonly RewardArgument _argument;

    private OnnxReward(RewardName name, RewardArgument argument)
    {
        (Name, _argument) = (name.ToString(), argument);
        var file = argument.Target;
        if (Directory.Exists(file)) file = Path.Combine(file, "model.onnx");
        if (!File.Exists(file)) throw argument.Fault($"there is no file '{file}'; expected an ONNX model");
        using var options = new SessionSettings { Device = argument.Text("device") ?? "cpu" }.ToOptions();
        try
        {
            _session = new InferenceSession(file, options);
        }
        catch (OnnxRuntimeException fault)
        {
            throw new UserError(
                argument.Fault($"ONNX Runtime does not take '{file}': {fault.Message.ReplaceLineEndings(" ")}").Message, fault);
        }
        try
        {
            _inputs = OnnxRewardInputs.Of(_session, Path.GetDirectoryName(Path.GetFullPath(file))!, argument);
            _output = Output(argument.Text("output"));
            // Of logits_per_image only the diagonal is asked for, so one image at a time.
            _batch = argument.Integer("batch", _inputs.FixedBatch ?? (_output == "logits_per_image" ? 1 : 8), 1, 4096);
            if (_inputs.FixedBatch is { } rows
                && rows != _batch) throw argument.Fault($"#batch: the model takes exactly {rows} images at a time, got {_batch}");
        }
        catch
        {
            _session.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary><c>onnx:FILE[#output=NAME][#batch=N][#device=D]</c>; a folder means its model.onnx.</summary>
    /// <param name="name">The name with the file.</param>
    /// <exception cref="UserError">The file is missing, or its inputs and outputs are not those of a scorer (names what does not
    /// fit).</exception>
    public static IReward Create(RewardName name) => new OnnxReward(name, new RewardArgument(name, "output", "batch", "device"));

    /// <inheritdoc/>
    public bool Fits(string prompt) => !_inputs.TakesText || prompt.Length > 0; // a model that draws without prompts says ""

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var scores = new float[inputs.Count];
        for (var start = 0; start < inputs.Count; start += _batch)
        {
            cancellation.ThrowIfCancellationRequested();
            var count = Math.Min(_batch, inputs.Count - start);
            // A model of a fixed batch gets its last images repeated.
            var rows = _inputs.FixedBatch ?? count;
            RewardInput[] part = [.. Enumerable.Range(0, rows).Select(i => inputs[start + Math.Min(i, count - 1)])];
            Run(part).AsSpan(0, count).CopyTo(scores.AsSpan(start));
        }
        return scores;
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();

    private float[] Run(RewardInput[] part)
    {
        var values = _inputs.Make(part);
        try
        {
            using var run = new RunOptions();
            using var outputs = _session.Run(run, [.. values.Select(v => v.Name)], [.. values.Select(v => v.Value)], [_output]);
            var shape = outputs[0].GetTensorTypeAndShape();
            if (shape.ElementCount != part.Length)
                throw _argument.Fault($"the output {_output} is [{string.Join(",", shape.Shape)}] for {part.Length} images: expected one "
                    + $"number an image, [B] or [B,1]; choose another with #output=NAME");
            return Floats(outputs[0]);
        }
        catch (OnnxRuntimeException fault)
        {
            throw new UserError(_argument.Fault($"ONNX Runtime stopped: {fault.Message.ReplaceLineEndings(" ")}").Message, fault);
        }
        finally
        {
            foreach (var (_, value) in values) value.Dispose();
        }
    }

    private string Output(string? wanted)
    {
        var names = _session.OutputMetadata.Keys.ToArray();
        if (wanted is not null) return names.Contains(wanted) ? wanted
            : throw _argument.Fault($"#output: the model has no output '{wanted}', only {string.Join(", ", names)}");
        if (names is [var only]) return only;
        var usual = names.Where(name => name is "score" or "scores" or "reward" or "rewards" or "logits" or "logits_per_image").ToArray();
        return usual is [var found] ? found
            : throw _argument.Fault($"the model has outputs {string.Join(", ", names)}: choose the score with #output=NAME");
    }

    private float[] Floats(OrtValue value) => value.GetTensorTypeAndShape().ElementDataType switch
    {
        Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float => value.GetTensorDataAsSpan<float>().ToArray(),
        Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Double =>
            Array.ConvertAll(value.GetTensorDataAsSpan<double>().ToArray(), x => (float)x),
        Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16 =>
            Array.ConvertAll(value.GetTensorDataAsSpan<Float16>().ToArray(), x => (float)x),
        var other => throw _argument.Fault($"the output {_output} has the type {other}: expected float, half or double numbers"),
    };
}
