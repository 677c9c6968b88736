using System.ClientModel;
using System.ClientModel.Primitives;
using System.Text.Json;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Chat;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace OrtRlhf.Rewards;

/// <summary>
/// How surely a vision model says yes when it is asked about an image, after VQAScore (Lin et al., 2024): <c>p(yes) / (p(yes) + p(no))</c>
/// of the answer's first
/// token, where the service tells log-probabilities; else 1 or 0 by the answer's first word. Any service with OpenAI's chat completions
/// will do. The key is in
/// the environment variable <c>OPENAI_API_KEY</c>, or another that <c>#key=NAME</c> names.
/// </summary>
public sealed class VisionReward : IReward
{
    private const string Placeholder = "{prompt}", Question = $"Does this image show \"{Placeholder}\"? Answer with yes or no.";
    private readonly ScoringService _service;
    private readonly IChatClient _chat;
    private readonly ChatOptions _options;
    private readonly string _question;

    private VisionReward(RewardName name, RewardArgument argument)
    {
        Name = name.ToString();
        var address = ScoringService.Parse(argument, argument.Target);
        if (!address.AbsolutePath.EndsWith("/chat/completions", StringComparison.Ordinal))
            address = new UriBuilder(address) { Path = address.AbsolutePath.TrimEnd('/') + "/chat/completions" }.Uri;
        var model = argument.Text("model") ?? throw argument.Fault("which model? Write vision:URL#model=NAME");
        _question = argument.Text("question") ?? Question;
        var logprobs = argument.Text("logprobs") switch
        {
            null or "on" => true,
            "off" => false,
            var other => throw argument.Fault($"#logprobs: expected on or off, got '{other}'"),
        };
        var key = Environment.GetEnvironmentVariable(argument.Text("key") ?? "OPENAI_API_KEY");
        _options = new() { Temperature = 0, RawRepresentationFactory = _ => Raw(logprobs) };
        _service = new ScoringService(argument, address, key, parallel: 4);
        // How often and how long to try is the service's to say, and so is where: an address may have a query.
        _chat = new ChatClient(model, new ApiKeyCredential(string.IsNullOrEmpty(key) ? "none" : key), new OpenAIClientOptions
        {
            Endpoint = address,
            Transport = new HttpClientPipelineTransport(_service.Client),
            RetryPolicy = new ClientRetryPolicy(0),
            NetworkTimeout = Timeout.InfiniteTimeSpan,
        }).AsIChatClient();
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>
    /// <c>vision:URL#model=NAME</c> with the URL of the service (<c>https://host/v1</c>) and options <c>#question=TEXT</c> ({prompt} stands
    /// for the prompt; a
    /// question to be answered with yes or no), <c>#logprobs=off</c> for services that refuse to tell them, <c>#parallel=4</c>,
    /// <c>#timeout=60</c>,
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
        _service.Ask(inputs.Count, async (i, stop) => scores[i] = await Score(inputs[i], stop).ConfigureAwait(false), cancellation);
        return scores;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _chat.Dispose();
        _service.Dispose();
    }

    // What IChatClient has no words for. Services other than OpenAI's own often know max_tokens alone, not max_completion_tokens.
    private static ChatCompletionOptions Raw(bool logprobs)
    {
        var options = new ChatCompletionOptions();
#pragma warning disable SCME0001 // may change: a test reads what is sent
        options.Patch.Set("$.max_tokens"u8, 8);
#pragma warning restore SCME0001
        if (logprobs) (options.IncludeLogProbabilities, options.TopLogProbabilityCount) = (true, 10);
        return options;
    }

    private async Task<float> Score(RewardInput input, CancellationToken cancellation)
    {
        var question = new TextContent(_question.Replace(Placeholder, input.Prompt, StringComparison.Ordinal));
        var picture = new DataContent(ImageCodec.EncodePng(input.Image), "image/png");
        try
        {
            var answer = await _chat.GetResponseAsync([new ChatMessage(ChatRole.User, [question, picture])], _options, cancellation)
                .ConfigureAwait(false);
            if (answer.RawRepresentation is ChatCompletion completion && FromLogProbs(completion) is { } sure) return sure;
            return Word(answer.Text) switch
            {
                "yes" => 1,
                "no" => 0,
                _ => throw new FormatException($"expected yes or no, got '{ScoringService.Short(answer.Text)}'"),
            };
        }
        catch (Exception fault) when (fault is not (UserError or OperationCanceledException or FormatException or JsonException))
        {
            // The client stumbles in many ways over JSON that is no completion.
            throw new FormatException($"expected {{\"choices\":[{{\"message\":{{\"content\":\"yes\"}}}}]}}, got "
                + $"'{ScoringService.Short(_service.Answer)}'", fault);
        }
    }

    // Null where there are no log-probabilities, or neither yes nor no is among the likely first tokens.
    private static float? FromLogProbs(ChatCompletion completion)
    {
        if (completion.ContentTokenLogProbabilities is not [var first, ..]) return null;
        var (yes, no) = (0.0, 0.0);
        foreach (var entry in first.TopLogProbabilities)
        {
            switch (Word(entry.Token))
            {
                case "yes": yes += Math.Exp(entry.LogProbability); break;
                case "no": no += Math.Exp(entry.LogProbability); break;
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
