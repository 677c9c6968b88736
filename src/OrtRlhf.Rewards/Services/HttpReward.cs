using System.Text.Json;
using System.Text.Json.Nodes;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// Scores from a service, in any language. It gets POST requests <c>{"images": ["&lt;base64 PNG&gt;", ...], "prompts": ["...", ...]}</c>,
/// as many
/// of each, and answers <c>{"scores": [0.5, ...]}</c>, a finite number for each image, in order. A key in the environment variable
/// <c>ORTRLHF_REWARD_API_KEY</c> is sent as a bearer token.
/// </summary>
public sealed class HttpReward : IReward
{
    private readonly ScoringService _service;
    private readonly int _batch;

    private HttpReward(RewardName name, ScoringService service, int batch) => (Name, _service, _batch) = (name.ToString(), service, batch);

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>
    /// <c>http://HOST:PORT/PATH</c> (or <c>http:URL</c>) with options <c>#batch=8</c> (images a request), <c>#parallel=2</c> (requests at a
    /// time),
    /// <c>#timeout=60</c> (seconds a try), <c>#retries=4</c> and <c>#pause=0.5</c> (seconds before the first).
    /// </summary>
    /// <param name="name">The name with the address.</param>
    /// <exception cref="UserError">The address or an option is wrong. Whether the service is there shows when it is asked.</exception>
    public static IReward Create(RewardName name)
    {
        var argument = new RewardArgument(name, "batch", "parallel", "timeout", "retries", "pause");
        var address = ScoringService.Parse(argument, argument.Target.StartsWith("//", StringComparison.Ordinal)
            ? $"{name.Name}:{argument.Target}" : argument.Target);
        var batch = argument.Integer("batch", 8, 1, 1024);
        return new HttpReward(name,
            new ScoringService(argument, address, Environment.GetEnvironmentVariable("ORTRLHF_REWARD_API_KEY"), parallel: 2), batch);
    }

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var scores = new float[inputs.Count];
        RewardInput[][] parts = [.. inputs.Chunk(_batch)];
        _service.Ask(parts.Length, async (i, stop) =>
        {
            await _service.Post(Request(parts[i]), stop).ConfigureAwait(false);
            using var answer = JsonDocument.Parse(_service.Answer);
            Read(answer.RootElement, parts[i].Length).CopyTo(scores, i * _batch);
        }, cancellation);
        return scores;
    }

    /// <inheritdoc/>
    public void Dispose() => _service.Dispose();

    private static JsonObject Request(RewardInput[] part) => new()
    {
        ["images"] = new JsonArray([.. part.Select(input => (JsonNode?)Convert.ToBase64String(ImageCodec.EncodePng(input.Image)))]),
        ["prompts"] = new JsonArray([.. part.Select(input => (JsonNode?)input.Prompt)]),
    };

    private static float[] Read(JsonElement answer, int count)
    {
        if (answer.ValueKind != JsonValueKind.Object || !answer.TryGetProperty("scores", out var scores)
            || scores.ValueKind != JsonValueKind.Array || scores.GetArrayLength() != count)
            throw new FormatException(
                $"expected {{\"scores\":[...]}} with {count} numbers, got '{ScoringService.Short(answer.GetRawText())}'");
        return [.. scores.EnumerateArray().Select(score =>
            score.ValueKind == JsonValueKind.Number && score.TryGetSingle(out var number) && float.IsFinite(number)
            ? number : throw new FormatException($"expected finite numbers as scores, got '{ScoringService.Short(score.GetRawText())}'"))];
    }
}
