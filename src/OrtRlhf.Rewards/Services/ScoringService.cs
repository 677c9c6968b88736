using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Http.Resilience;
using OrtRlhf.Graph;
using Polly;
using Polly.Timeout;

namespace OrtRlhf.Rewards;

/// <summary>
/// A service that answers JSON with JSON, asked with patience: a request that gets no answer in time, no connection, or the status 408, 429
/// or 5xx is sent
/// again after 0.5, 1, 2, ... seconds (or as long as the answer's Retry-After asks, at most a minute).
/// </summary>
internal sealed class ScoringService : IDisposable
{
    private const int LargestAnswer = 16 << 20;
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(1);
    private readonly RewardArgument _argument;
    private readonly AuthenticationHeaderValue? _key;
    private readonly double _timeout;
    private readonly int _parallel;
    private readonly ResiliencePipeline<HttpResponseMessage> _patience;
    private readonly AsyncLocal<StrongBox<string>?> _answer = new();

    /// <summary>Prepares requests; nothing is sent.</summary>
    /// <param name="argument">The reward, its address and the options timeout (seconds a try), retries, parallel and pause (the first, in
    /// seconds).</param>
    /// <param name="address">Where to send requests.</param>
    /// <param name="key">A bearer token, or null.</param>
    /// <param name="parallel">Default of requests at a time.</param>
    public ScoringService(RewardArgument argument, Uri address, string? key, int parallel)
    {
        (_argument, Address, _key) = (argument, address, string.IsNullOrEmpty(key) ? null : new("Bearer", key));
        (_timeout, _parallel) = (argument.Positive("timeout", 60, 86400), argument.Integer("parallel", parallel, 1, 256));
        _patience = Patience(argument.Integer("retries", 4, 0, 100), TimeSpan.FromSeconds(argument.Positive("pause", 0.5, 3600)),
            TimeSpan.FromSeconds(_timeout));
        Client = new(new Handler(this)) { Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>Where requests go.</summary>
    public Uri Address { get; }

    /// <summary>Sends with patience, to <see cref="Address"/> and nowhere else.</summary>
    public HttpClient Client { get; }

    /// <summary>While <see cref="Ask"/> asks: the text of the last good answer to this request.</summary>
    public string Answer => _answer.Value?.Value ?? "";

    /// <summary>The address that a user wrote.</summary>
    /// <exception cref="UserError">It is not an absolute http or https address.</exception>
    public static Uri Parse(RewardArgument argument, string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" && address.Host.Length > 0
            ? address : throw argument.Fault($"expected an address such as http://localhost:8000/score, got '{text}'");

    /// <summary>Asks several times side by side; the first fault stops all.</summary>
    /// <param name="count">Number of requests.</param>
    /// <param name="ask">Sends a request by <see cref="Client"/> and takes its answer apart; a fault in it is thrown as FormatException or
    /// JsonException.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="UserError">The service does not answer, refuses, or answers something else than asked for.</exception>
    public void Ask(int count, Func<int, CancellationToken, Task> ask, CancellationToken cancellation)
    {
        var options = new ParallelOptions { MaxDegreeOfParallelism = _parallel, CancellationToken = cancellation };
        Parallel.ForEachAsync(Enumerable.Range(0, count), options, async (i, stop) =>
        {
            _answer.Value = new();
            try
            {
                await ask(i, stop).ConfigureAwait(false);
            }
            catch (Exception fault) when (fault is JsonException or FormatException)
            {
                throw _argument.Fault($"{Address} answered something else than expected: "
                    + $"{(fault is JsonException ? $"not JSON, '{Short(Answer)}'" : fault.Message)}. Correct the service; the last "
                    + $"checkpoint is intact");
            }
        }).GetAwaiter().GetResult();
    }

    /// <summary>Posts a body, its answer being <see cref="Answer"/>.</summary>
    /// <exception cref="UserError">As <see cref="Ask"/>.</exception>
    public async Task Post(JsonObject body, CancellationToken cancellation)
    {
        using var content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var response = await Client.PostAsync(Address, content, cancellation).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose() => Client.Dispose();

    /// <summary>The begin of a text, on one line.</summary>
    internal static string Short(string text)
    {
        var line = text.ReplaceLineEndings(" ").Trim();
        return line.Length <= 120 ? line : line[..117] + "...";
    }

    /// <summary>Tries again what may pass, and limits each try.</summary>
    internal static ResiliencePipeline<HttpResponseMessage> Patience(int retries, TimeSpan pause, TimeSpan timeout,
        TimeProvider? clock = null)
    {
        var builder = new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = clock };
        if (retries > 0)
        {
            var retry = new HttpRetryStrategyOptions
            {
                MaxRetryAttempts = retries,
                Delay = pause,
                MaxDelay = LongestPause,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = false
            };
            // The package waits as long as Retry-After says, be it a day.
            var asked = retry.DelayGenerator!;
            retry.DelayGenerator = async tried => await asked(tried).ConfigureAwait(false) is { } delay
                ? TimeSpan.FromTicks(Math.Min(delay.Ticks, LongestPause.Ticks)) : null;
            builder.AddRetry(retry);
        }
        // a fixed Timeout could not be below 10 ms
        return builder.AddTimeout(new HttpTimeoutStrategyOptions { TimeoutGenerator = _ => new(timeout) }).Build();
    }

    // What the package does not: counts tries, has the answer's body within their limits, and says in one line what was wrong.
    private async Task<HttpResponseMessage> Send(HttpRequestMessage request,
        Func<HttpRequestMessage, CancellationToken, Task<HttpResponseMessage>> send, CancellationToken cancellation)
    {
        var (tries, body) = (0, request.Content);
        try
        {
            var response = await _patience.ExecuteAsync(async stop =>
            {
                tries++;
                // A redirect may have changed all of these at the try before; OpenAI's client sends a key even where there is none.
                (request.RequestUri, request.Method, request.Content, request.Headers.Authorization) = (Address, HttpMethod.Post,
                    body, _key);
                var answer = await send(request, stop).ConfigureAwait(false);
                await answer.Content.LoadIntoBufferAsync(LargestAnswer, stop).ConfigureAwait(false);
                return answer;
            }, cancellation).ConfigureAwait(false);
            var text = await response.Content.ReadAsStringAsync(cancellation).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
            {
                if (_answer.Value is { } box) box.Value = text;
                return response;
            }
            using (response) throw Failed($"answered {(int)response.StatusCode} "
                + $"{response.ReasonPhrase}{(text.Length == 0 ? "" : $", '{Short(text)}'")}", response.StatusCode);
        }
        catch (TimeoutRejectedException)
        {
            throw Failed(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"gave no answer within {_timeout} s"));
        }
        catch (HttpRequestException error)
        {
            throw Failed($"cannot be asked: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
        catch (Exception error) when (error is UriFormatException or InvalidOperationException)
        {
            // What .NET makes of a Location without a host, or of a character set that nobody knows.
            throw Failed($"answered with headers that are not valid: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}",
                HttpStatusCode.BadRequest);
        }

        UserError Failed(string fault, HttpStatusCode status = HttpStatusCode.RequestTimeout)
        {
            var remedy = status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError
                ? "start the service, or give it more time with #timeout=SECONDS"
                : status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden ? "set the service's key"
                    : "correct the address or the request";
            return _argument.Fault(
                $"{Address} {fault} ({tries} {(tries == 1 ? "try" : "tries")}): {remedy}; the last checkpoint is intact, resume the run");
        }
    }

    private sealed class Handler(ScoringService service)
        : DelegatingHandler(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation) =>
            service.Send(request, base.SendAsync, cancellation);
    }
}
