using System.Globalization;
using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Rewards;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Rewards;

public sealed class HttpRewardTests
{
    private const string Fast = "#pause=0.01#timeout=20";

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 4)]
    [InlineData(64, 2)]
    public void Score_InBatchesSideBySide_KeepsTheOrder(int batch, int parallel)
    {
        using var service = new TestService((_, body) => (200, Scores(body)));
        var inputs = Inputs(20);
        Assert.Equal(inputs.Select(i => i.Image.Pixels[0] + (0.001f * i.Prompt.Length)),
            Parse($"{service.Url}{Fast}#batch={batch}#parallel={parallel}").Score(inputs), (x, y) => Math.Abs(x - y) < 1e-4);
        Assert.Equal((20 + batch - 1) / batch, service.Requests);
        Assert.Null(service.Last.Authorization);
    }

    [Fact]
    public void Score_OtherSpelling_PathAndQuery_AreAsked()
    {
        using var service = new TestService((_, body) => (200, Scores(body)));
        Assert.Single(Parse($"http:{service.Url}a/score?x=1{Fast}").Score(Inputs(1)));
        Assert.Equal("/a/score", service.Last.Path);
    }

    [Fact]
    public void Score_FailuresThatPass_AreTriedAgain()
    {
        using var service = new TestService((number, body) => number switch
        {
            0 => (500, "out of memory"),
            1 => (429, ""),
            2 => (503, ""),
            _ => (200, Scores(body)),
        });
        Assert.Equal(2, Parse($"{service.Url}{Fast}").Score(Inputs(2)).Length);
        Assert.Equal(4, service.Requests);
    }

    [Fact]
    public void Score_Hang_IsGivenUpAndTriedAgain()
    {
        using var service = new TestService((number, body) => number == 0 ? null : (200, Scores(body)));
        Assert.Single(Parse($"{service.Url}#pause=0.01#timeout=0.5").Score(Inputs(1)));
        using var dead = new TestService((_, _) => null);
        var error = Fails($"{dead.Url}#pause=0.01#timeout=0.2#retries=1");
        Assert.Contains("gave no answer within 0.2 s (2 tries)", error);
        Assert.Equal(2, dead.Requests);
    }

    [Theory]
    [InlineData(404, "no such page", "answered 404 Not Found, 'no such page' (1 try): correct the address", 1)]
    [InlineData(401, "", "answered 401 Unauthorized (1 try): set the service's key", 1)]
    [InlineData(500, "first\nsecond", "answered 500 Internal Server Error, 'first second' (3 tries)", 3)]
    [InlineData(200, "hello", "not JSON, 'hello'", 1)]
    [InlineData(200, "{\"scores\":[1]}", "with 2 numbers, got '{\"scores\":[1]}'", 1)]
    [InlineData(200, "[1,2]", "with 2 numbers", 1)]
    [InlineData(200, "{\"scores\":[1,NaN]}", "not JSON", 1)]
    [InlineData(200, "{\"scores\":[1,\"NaN\"]}", "expected finite numbers as scores, got '\"NaN\"'", 1)]
    [InlineData(200, "{\"scores\":[1,null]}", "expected finite numbers as scores, got 'null'", 1)]
    [InlineData(200, "{\"scores\":[1,1e99]}", "expected finite numbers as scores, got '1e99'", 1)]
    public void Score_FailuresThatStay_AreOneLine(int status, string body, string expected, int requests)
    {
        using var service = new TestService((_, _) => (status, body));
        var error = Fails($"{service.Url}{Fast}#retries=2");
        Assert.Contains(expected, error);
        Assert.Contains(service.Url, error);
        Assert.Equal(requests, service.Requests);
    }

    [Fact]
    public void Score_NobodyThere_IsOneLine()
    {
        string url;
        using (var gone = new TestService((_, _) => null)) url = gone.Url;
        Assert.Contains("cannot be asked: Connection refused", Fails($"{url}{Fast}#retries=1"));
        Assert.Contains("expected an address such as http://localhost:8000/score, got 'nonsense'",
            Assert.Throws<UserError>(() => Parse("http:nonsense")).Message);
    }

    [Fact]
    public void Score_RetryAfter_IsWaitedFor()
    {
        using var service = new TestService((number, body) =>
            number == 0 ? (503, "") : (200, Scores(body)))
        { Header = ("Retry-After", "1") };
        var watch = System.Diagnostics.Stopwatch.StartNew();
        Assert.Single(Parse($"{service.Url}{Fast}").Score(Inputs(1)));
        Assert.InRange(watch.Elapsed.TotalSeconds, 0.99, 15);
    }

    [Theory]
    [InlineData(null, new[] { 0.5, 1, 2, 4, 8, 16, 32, 60, 60 })]
    [InlineData("3", new[] { 3.0, 3, 3, 3, 3, 3, 3, 3, 3 })]
    [InlineData("86400", new[] { 60.0, 60, 60, 60, 60, 60, 60, 60, 60 })]
    public async Task Patience_PausesDouble_OrAreWhatRetryAfterAsks_AtMostAMinute(string? asked, double[] expected)
    {
        var clock = new HastyClock(TimeSpan.FromHours(2));
        var tries = 0;
        using var last = await ScoringService.Patience(expected.Length, TimeSpan.FromSeconds(0.5), clock.Slow, clock).ExecuteAsync(_ =>
        {
            tries++;
            var answer = new HttpResponseMessage(System.Net.HttpStatusCode.ServiceUnavailable);
            if (asked is not null) answer.Headers.Add("Retry-After", asked);
            return new ValueTask<HttpResponseMessage>(answer);
        });
        Assert.Equal(expected, clock.Waits);
        Assert.Equal(expected.Length + 1, tries);
    }

    [Theory]
    [InlineData(307, "Location", "///score", "the hostname could not be parsed")]
    [InlineData(302, "Location", "//", "the hostname could not be parsed")]
    [InlineData(307, "Location", "http:///score", "answered 307 Temporary Redirect")]
    [InlineData(200, "Content-Type", "text/plain; charset=nonsense", "character set")]
    public void Score_HeadersThatAreNotValid_AreOneLine(int status, string name, string value, string expected)
    {
        using var service = new TestService((_, _) => (status, "hi")) { Header = (name, value) };
        var error = Fails($"{service.Url}{Fast}");
        Assert.Contains(expected, error, StringComparison.OrdinalIgnoreCase);
        Assert.Contains($"{service.Url} answered", error);
        Assert.Contains("(1 try): correct the address or the request", error);
        Assert.Equal(1, service.Requests);
    }

    [Fact]
    public void Score_RedirectToAFailureThatPasses_BeginsAgainAsItBegan()
    {
        // POST becomes GET behind a 303, whose failure is tried again: with the body and from the first address.
        using var other = new TestService((_, _) => (500, ""));
        using var service = new TestService((_, body) => (303, Scores(body))) { Header = ("Location", other.Url) };
        Assert.Contains("(3 tries)", Fails($"{service.Url}{Fast}#retries=2"));
        Assert.Equal((3, 3), (service.Requests, other.Requests));
    }

    [Fact]
    public void Dispose_ClosesTheClient()
    {
        using var service = new TestService((_, body) => (200, Scores(body)));
        var reward = Parse($"{service.Url}{Fast}");
        Assert.Single(reward.Score(Inputs(1)));
        reward.Dispose();
        Assert.Throws<ObjectDisposedException>(() => reward.Score(Inputs(1)));
        Assert.Equal(1, service.Requests);
    }

    [Fact]
    public void Score_Cancelled_Stops()
    {
        using var service = new TestService((_, _) => null);
        using var cancellation = new CancellationTokenSource(TimeSpan.FromSeconds(0.3));
        Assert.ThrowsAny<OperationCanceledException>(() => Parse($"{service.Url}{Fast}").Score(Inputs(1), cancellation.Token));
    }

    [Fact]
    public void Run_ServiceDies_CheckpointIsIntact_ResumesToTheSameNumbers()
    {
        using var folder = new TempFolder();
        var dead = false;
        // 8 images before the first epoch and 8 in each, 8 a request: the third epoch meets it.
        using var service = new TestService((number, body) => number >= 3 && dead ? (500, "") : (200, Scores(body)));
        TuningOptions Options(string name) => TinyRun.Options(folder, name) with { Reward = $"{service.Url}{Fast}#retries=1", Epochs = 3 };
        var whole = TuningRun.Execute(Options("whole"), TinyRun.Environment);
        Assert.NotEqual(0, whole.Reward.Before.Mean);
        dead = true;
        var asked = service.Requests;
        using var dying = new TestService((number, body) => number == 3 && dead ? (400, "") : (200, Scores(body)));
        var options = Options("run") with { Reward = $"{dying.Url}{Fast}" };
        Assert.Contains("the last checkpoint is intact", TinyRun.Fails(options).Message);
        Assert.Equal(2, Checkpoint.Latest(new RunFolder(options.Output).Checkpoints)!.Epoch);
        dead = false;
        TuningRun.Resume(options.Output, TinyRun.Environment);
        // The address is part of the reward's name, the numbers are the same.
        Assert.Equal(TinyRun.Result(folder.At("whole")).Adapter, TinyRun.Result(options.Output).Adapter);
        Assert.Equal(asked, service.Requests);
    }

    internal static WeightedReward Parse(string expression) => RewardRegistry.Default.Parse(expression);

    internal static RewardInput[] Inputs(int count) => [.. Enumerable.Range(0, count).Select(i =>
    {
        var image = new RgbImage(4, 4);
        image.MutablePixels.Fill((byte)(i * 7));
        return new RewardInput(image, new string('x', i + 1), i);
    })];

    internal static string Fails(string expression)
    {
        var error = Assert.Throws<UserError>(() => Parse(expression).Score(Inputs(2)));
        Assert.DoesNotContain('\n', error.Message);
        Assert.Contains("the last checkpoint is intact", error.Message);
        return error.Message;
    }

    // Does not wait, but for what is slow, and tells how long it should have.
    private sealed class HastyClock(TimeSpan slow) : TimeProvider
    {
        public TimeSpan Slow => slow;

        public List<double> Waits { get; } = [];

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime < TimeSpan.Zero || dueTime == slow) return base.CreateTimer(callback, state, dueTime, period);
            Waits.Add(dueTime.TotalSeconds);
            return base.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }

    // The first pixel's red, and a thousandth of the length of the prompt.
    private static string Scores(JsonElement body)
    {
        var images = body.GetProperty("images").EnumerateArray().Select(image => ImageCodec.Decode(image.GetBytesFromBase64())).ToArray();
        var prompts = body.GetProperty("prompts").EnumerateArray().Select(prompt => prompt.GetString()!).ToArray();
        return $"{{\"scores\":[{string.Join(",", images.Zip(prompts, (i, p) => (i.Pixels[0] + (0.001 * p.Length)).ToString(CultureInfo.InvariantCulture)))}]}}";
    }
}
