using System.Text.Json.Nodes;
using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// How surely a vision model says yes when it is asked about an image, after VQAScore (Lin et al., 2024): <c>p(yes) / (p(yes) + p(no))</c> of the answer's first
/// token, where the service tells log-probabilities; else 1 or 0 by the answer's first word. Any service with OpenAI's chat completions will do. The key is in
/// the environment variable <c>OPENAI_API_KEY</c>, or another that <c>#key=NAME</c> names.
/// </summary>
public sealed class VisionReward : IReward
{
    private const string Placeholder = "{prompt}", Question = $"Does this image show \"{Placeholder}\"? Answer with yes or no.";
    private readonly ScoringService _service;
    private readonly string _model, _question;
    private readonly bool _logprobs;

    private VisionReward(RewardName name, RewardArgument argument)
    {
        Name = name.ToString();
        var address = ScoringService.Parse(argument, argument.Target);
        if (!address.AbsolutePath.EndsWith("/chat/completions", StringComparison.Ordinal))
            address = new UriBuilder(address) { Path = address.AbsolutePath.TrimEnd('/') + "/chat/completions" }.Uri;
        _model = argument.Text("model") ?? throw argument.Fault("which model? Write vision:URL#model=NAME");
        _question = argument.Text("question") ?? Question;
        _logprobs = argument.Text("logprobs") switch
        {
            null or "on" => true,
            "off" => false,
            var other => throw argument.Fault($"#logprobs: expected on or off, got '{other}'"),
        };
        _service = new ScoringService(argument, address, Environment.GetEnvironmentVariable(argument.Text("key") ?? "OPENAI_API_KEY"), parallel: 4);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>
    /// <c>vision:URL#model=NAME</c> with the URL of the service (<c>https://host/v1</c>) and options <c>#question=TEXT</c> ({prompt} stands for the prompt; a
    /// question to be answered with yes or no), <c>#logprobs=off</c> for services that refuse to tell them, <c>#parallel=4</c>, <c>#timeout=60</c>,
    /// <c>#retries=4</c>, <c>#pause=0.5</c>, <c>#key=ENVIRONMENT_VARIABLE</c>.
    /// </summary>
    /// <param name="name">The name with the address.</param>
    /// <exception cref="UserError">The address or an option is wrong. Whether the service is there shows when it is asked.</exception>
    public static IReward Create(RewardName name) =>
        new VisionReward(name, new RewardArgument(name, "model", "question", "logprobs", "key", "parallel", "timeout", "retries", "pause"));

    /// <inheritdoc/>
    public bool Fits(string prompt) => prompt.Length > 0; // a model that draws without prompts says ""

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var scores = new float[inputs.Count];
        _service.Ask(inputs.Count, i => Request(inputs[i]), (i, answer) => scores[i] = Read(answer), cancellation);
        return scores;
    }

    private JsonObject Request(RewardInput input)
    {
        var picture = "data:image/png;base64," + Convert.ToBase64String(ImageCodec.EncodePng(input.Image));
        var request = new JsonObject
        {
            ["model"] = _model,
            ["messages"] = new JsonArray(new JsonObject
            {
                ["role"] = "user",
                ["content"] = new JsonArray(
                    new JsonObject { ["type"] = "text", ["text"] = _question.Replace(Placeholder, input.Prompt, StringComparison.Ordinal) },
                    new JsonObject { ["type"] = "image_url", ["image_url"] = new JsonObject { ["url"] = picture } }),
            }),
            ["max_tokens"] = 8,
            ["temperature"] = 0,
        };
        if (_logprobs) (request["logprobs"], request["top_logprobs"]) = (true, 10);
        return request;
    }

    private static float Read(JsonElement answer)
    {
        try
        {
            var choice = answer.GetProperty("choices")[0];
            if (FromLogProbs(choice) is { } sure) return sure;
            var text = choice.GetProperty("message").GetProperty("content").GetString() ?? "";
            return Word(text) switch
            {
                "yes" => 1,
                "no" => 0,
                _ => throw new FormatException($"expected yes or no, got '{ScoringService.Short(text)}'"),
            };
        }
        catch (Exception fault) when (fault is KeyNotFoundException or InvalidOperationException or IndexOutOfRangeException)
        {
            throw new FormatException($"expected {{\"choices\":[{{\"message\":{{\"content\":\"yes\"}}}}]}}, got '{ScoringService.Short(answer.GetRawText())}'", fault);
        }
    }

    // Null where there are no log-probabilities, or neither yes nor no is among the likely first tokens.
    private static float? FromLogProbs(JsonElement choice)
    {
        if (!choice.TryGetProperty("logprobs", out var logprobs) || logprobs.ValueKind != JsonValueKind.Object) return null;
        if (!logprobs.TryGetProperty("content", out var tokens) || tokens.ValueKind != JsonValueKind.Array || tokens.GetArrayLength() == 0) return null;
        if (!tokens[0].TryGetProperty("top_logprobs", out var top) || top.ValueKind != JsonValueKind.Array) return null;
        var (yes, no) = (0.0, 0.0);
        foreach (var entry in top.EnumerateArray())
        {
            var probability = Math.Exp(entry.GetProperty("logprob").GetDouble());
            switch (Word(entry.GetProperty("token").GetString() ?? ""))
            {
                case "yes": yes += probability; break;
                case "no": no += probability; break;
                default: break;
            }
        }
        return yes + no > 0 ? (float)(yes / (yes + no)) : null;
    }

    private static string Word(string text)
    {
        var start = text.TrimStart(' ', '\t', '\r', '\n', '"', '\'', '*', '\u2581', '\u0120');
        return new string([.. start.TakeWhile(char.IsAsciiLetter)]).ToLowerInvariant();
    }
}
