using System.Net.Http.Headers;
using System.Net;
using System.Text.Json.Nodes;
using System.Text.Json;
using System.Text;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// A service that answers JSON with JSON, asked with patience: a request that gets no answer in time, no connection, or the status 408, 429 or 5xx is sent
/// again after 0.5, 1, 2, ... seconds (or as long as the answer's Retry-After asks, at most a minute).
/// </summary>
internal sealed class ScoringService
{
    private const int LargestAnswer = 16 << 20;
    private readonly HttpClient _client;
    private readonly RewardArgument _argument;
    private readonly double _timeout, _pause;
    private readonly int _retries, _parallel;

    /// <summary>Prepares requests; nothing is sent.</summary>
    /// <param name="argument">The reward, its address and the options timeout (seconds a try), retries, parallel and pause (the first, in seconds).</param>
    /// <param name="address">Where to send requests.</param>
    /// <param name="key">A bearer token, or null.</param>
    /// <param name="parallel">Default of requests at a time.</param>
    public ScoringService(RewardArgument argument, Uri address, string? key, int parallel)
    {
        (_argument, Address) = (argument, address);
        (_timeout, _retries) = (argument.Positive("timeout", 60, 86400), argument.Integer("retries", 4, 0, 100));
        (_parallel, _pause) = (argument.Integer("parallel", parallel, 1, 256), argument.Positive("pause", 0.5, 3600));
        _client = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) }) { Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = LargestAnswer };
        if (!string.IsNullOrEmpty(key)) _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    /// <summary>Where requests go.</summary>
    public Uri Address { get; }

    /// <summary>The address that a user wrote.</summary>
    /// <exception cref="UserError">It is not an absolute http or https address.</exception>
    public static Uri Parse(RewardArgument argument, string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" && address.Host.Length > 0
            ? address : throw argument.Fault($"expected an address such as http://localhost:8000/score, got '{text}'");

    /// <summary>Sends requests, several at a time, and takes their answers apart; the first fault stops all.</summary>
    /// <param name="count">Number of requests.</param>
    /// <param name="request">Makes the body of a request.</param>
    /// <param name="answer">Takes the answer of a request; a fault in it is thrown as FormatException.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="UserError">The service does not answer, refuses, or answers something else than asked for.</exception>
    public void Ask(int count, Func<int, JsonObject> request, Action<int, JsonElement> answer, CancellationToken cancellation)
    {
        var options = new ParallelOptions { MaxDegreeOfParallelism = _parallel, CancellationToken = cancellation };
        Parallel.ForEachAsync(Enumerable.Range(0, count), options, async (i, stop) =>
        {
            var text = await Send(request(i).ToJsonString(), stop).ConfigureAwait(false);
            try
            {
                using var document = JsonDocument.Parse(text);
                answer(i, document.RootElement);
            }
            catch (Exception fault) when (fault is JsonException or FormatException)
            {
                throw _argument.Fault($"{Address} answered something else than expected: {(fault is JsonException ? $"not JSON, '{Short(text)}'" : fault.Message)}. Correct the service; the last checkpoint is intact");
            }
        }).GetAwaiter().GetResult();
    }

    private async Task<string> Send(string body, CancellationToken cancellation)
    {
        for (var tries = 1; ; tries++)
        {
            string fault;
            TimeSpan? asked = null;
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation))
            {
                limit.CancelAfter(TimeSpan.FromSeconds(_timeout));
                try
                {
                    using var content = new StringContent(body, Encoding.UTF8, "application/json");
                    using var response = await _client.PostAsync(Address, content, limit.Token).ConfigureAwait(false);
                    var text = await response.Content.ReadAsStringAsync(limit.Token).ConfigureAwait(false);
                    if (response.IsSuccessStatusCode) return text;
                    fault = $"answered {(int)response.StatusCode} {response.ReasonPhrase}{(text.Length == 0 ? "" : $", '{Short(text)}'")}";
                    if (response.StatusCode is not (HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests) && (int)response.StatusCode < 500)
                        throw Failed(fault, tries, response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden ? "set the service's key" : "correct the address or the request");
                    asked = response.Headers.RetryAfter?.Delta;
                }
                catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
                {
                    fault = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"gave no answer within {_timeout} s");
                }
                catch (HttpRequestException error)
                {
                    fault = $"cannot be asked: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}";
                }
            }
            if (tries > _retries) throw Failed(fault, tries, "start the service, or give it more time with #timeout=SECONDS");
            var pause = Math.Min(60, asked?.TotalSeconds ?? (_pause * Math.Pow(2, tries - 1)));
            await Task.Delay(TimeSpan.FromSeconds(pause), cancellation).ConfigureAwait(false);
        }
    }

    private UserError Failed(string fault, int tries, string remedy) =>
        _argument.Fault($"{Address} {fault} ({tries} {(tries == 1 ? "try" : "tries")}): {remedy}; the last checkpoint is intact, resume the run");

    /// <summary>The begin of a text, on one line.</summary>
    internal static string Short(string text)
    {
        var line = text.ReplaceLineEndings(" ").Trim();
        return line.Length <= 120 ? line : line[..117] + "...";
    }
}
