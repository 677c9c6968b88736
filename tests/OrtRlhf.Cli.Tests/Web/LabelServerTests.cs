using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using OrtRlhf.Preferences;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests.Web;

public class LabelServerTests
{
    private const string Hard = "'); DROP TABLE preference_choices; -- <script>alert(1)</script> \"Ä\" 👩‍🎨";

    [Fact]
    public async Task Requests_OfOthers_AreRefused()
    {
        using var folder = new TempFolder();
        using var server = new LabelProcess("--images", LabelProcess.Images(folder.At("in"), 2), "--store", folder.At("store"),
            "--port", "0");
        var question = (await server.View("ada")).Questions[0];

        using var stranger = server.Browser(own: false);
        // a form or image of another site cannot send our header
        Assert.Equal(HttpStatusCode.Forbidden, (await stranger.PostAsJsonAsync("/api/view", new { rater = "ada" })).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, await Status(request => request.Headers.Add("Origin", "http://evil.example")));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(request => request.Headers.Add("Origin", "null")));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(request => request.Headers.Add("Sec-Fetch-Site", "cross-site")));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(request => request.Headers.Host = "evil.example")); // a name made to point here
        Assert.Equal(HttpStatusCode.Forbidden,
            await Status(request => request.Content!.Headers.ContentType = new MediaTypeHeaderValue("text/plain")));
        Assert.Equal(HttpStatusCode.OK, await Status(request => request.Headers.Add("Origin", server.Url)));

        using var named = new HttpRequestMessage(HttpMethod.Get, "/");
        named.Headers.Host = "evil.example";
        Assert.Equal(HttpStatusCode.Forbidden, (await server.Client.SendAsync(named)).StatusCode);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge,
            (await Post(Encoding.UTF8.GetBytes("{\"rater\":\"" + new string('x', 1 << 20) + "\"}"))).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await Post("{\"rater\":"u8.ToArray())).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await Post("{}"u8.ToArray())).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await Post("null"u8.ToArray())).StatusCode);

        // Answers that are none.
        Assert.Contains("the candidates are not those", await Refusal(question.Candidates.Select(_ => "unknown").ToArray(), [0, 1]));
        Assert.Contains("expected a rank for each", await Refusal(question.Candidates, [0, 99]));
        Assert.Contains("expected a rank for each", await Refusal(question.Candidates, [0, 1, 2]));
        Assert.Contains("expected rater, id", await Refusal(question.Candidates, [0, 1], id: "../x"));
        Assert.Contains("at most 2000 characters", await Refusal(question.Candidates, [0, 1], comment: new string('x', 2001)));
        using (var store = PreferenceStore.Open(folder.At("store"))) Assert.Empty(store.Choices());

        // A path in an image's name.
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync($"/images/{question.Candidates[0]}")).StatusCode);
        foreach (var name in (string[])["..%2fpreferences.db", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5cpreferences.db",
            $"{question.Candidates[0]}.png", "%00", ""])
            Assert.True((await server.Client.GetAsync(
                $"/images/{name}")).StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest, name);

        async Task<HttpStatusCode> Status(Action<HttpRequestMessage> change)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post,
                "/api/view")
            { Content = JsonContent.Create(new { rater = "ada" }) };
            await request.Content.LoadIntoBufferAsync();
            change(request);
            return (await server.Client.SendAsync(request)).StatusCode;
        }

        Task<HttpResponseMessage> Post(byte[] body) =>
            server.Client.PostAsync("/api/view", new ByteArrayContent(body) { Headers = { ContentType = new("application/json") } });

        async Task<string> Refusal(string[] candidates, int[] ranks, string id = "a1", string? comment = null)
        {
            using var reply = await server.Client.PostAsJsonAsync("/api/answer",
                new { rater = "ada", id, question = question.Id, candidates, ranks, comment });
            Assert.Equal(HttpStatusCode.BadRequest, reply.StatusCode);
            return await reply.Content.ReadAsStringAsync();
        }
    }

    [Fact]
    public async Task Comment_OfSqlAndHtml_IsKeptAsText()
    {
        using var folder = new TempFolder();
        using var server = new LabelProcess("--images", LabelProcess.Images(folder.At("in"), 2), "--store", folder.At("store"),
            "--port", "0");
        var question = (await server.View(Hard[..40])).Questions[0];
        var after = await server.Answer(Hard[..40], "one", question, [1, 0], Hard);
        Assert.Equal((1, "one"), (after.Saved, after.Last));
        Assert.Equal(1, (await server.Answer(Hard[..40], "one", question, [1, 0], Hard)).Saved); // sent again, taken once

        using var store = PreferenceStore.Open(folder.At("store"));
        var choice = Assert.Single(store.Choices());
        Assert.Equal((Hard, Hard[..40]), (choice.Comment, choice.Rater));
        Assert.Equal([1, 0], choice.Ranks);
        Assert.Equal(question.Candidates, choice.Candidates);
    }

    [Fact]
    public async Task Token_IsAskedForBeyondLoopback()
    {
        using var folder = new TempFolder();
        using var server = new LabelProcess("--images", LabelProcess.Images(folder.At("in"), 1), "--store", folder.At("store"), "--port",
            "0", "--host", "0.0.0.0");
        var token = server.Link.Query["?token=".Length..];
        Assert.True(token.Length >= 32);

        using var browser = server.Browser();
        foreach (var path in (string[])["/", "/label.js", "/api/greeting", "/images/x",
            "/?token=wrong"]) Assert.Equal(HttpStatusCode.Unauthorized, (await browser.GetAsync(path)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.PostAsJsonAsync("/api/view", new { rater = "ada" })).StatusCode);
        using var entrance = await browser.GetAsync($"/?token={token}");
        Assert.Equal(HttpStatusCode.OK, entrance.StatusCode);
        var cookie = Assert.Single(entrance.Headers.GetValues("Set-Cookie"));
        Assert.Contains("httponly", cookie);
        Assert.Contains("samesite=strict", cookie);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await browser.PostAsJsonAsync("/api/view", new { rater = "ada" })).StatusCode);

        using var script = server.Browser();
        script.DefaultRequestHeaders.Authorization = new("Bearer", token);
        Assert.Equal(HttpStatusCode.OK, (await script.PostAsJsonAsync("/api/view", new { rater = "ada" })).StatusCode);
        script.DefaultRequestHeaders.Authorization = new("Bearer", token[1..]);
        Assert.Equal(HttpStatusCode.Unauthorized, (await script.PostAsJsonAsync("/api/view", new { rater = "ada" })).StatusCode);
    }

    [Fact]
    public async Task Kill_BetweenRequests_LosesNothingConfirmed()
    {
        using var folder = new TempFolder();
        var images = LabelProcess.Images(folder.At("in"), 20);
        var confirmed = new List<string>();
        for (var life = 0; life < 3; life++)
        {
            using var server = new LabelProcess("--images", images, "--store", folder.At("store"), "--port", "0", "--check-every", "0");
            var view = await server.View("ada");
            Assert.Equal(confirmed.Count, view.Saved);
            Assert.Equal(confirmed.LastOrDefault(), view.Last);
            for (var i = 0; i <= 2 * life; i++)
            {
                var id = $"life-{life}-{i}";
                view = await server.Answer("ada", id, view.Questions[0], [0, 1]);
                confirmed.Add(id);
            }
            // One more is on its way when the server dies; the page sends it again to the next.
            var last = server.Client.PostAsJsonAsync("/api/answer", new
            {
                rater = "ada",
                id = $"flight-{life}",
                question = view.Questions[0].Id,
                candidates = view.Questions[0].Candidates,
                ranks = (int[])[1, 0]
            });
            server.Kill();
            try
            {
                (await last).Dispose();
            }
            catch (HttpRequestException)
            {
                // as a page would see it
            }
            using var next = new LabelProcess("--store", folder.At("store"), "--port", "0", "--check-every", "0", "--count", "0");
            Assert.Equal(confirmed.Count + 1, (await next.Answer("ada", $"flight-{life}", view.Questions[0], [1, 0])).Saved);
            confirmed.Add($"flight-{life}");
            next.Kill();
        }
        using var store = PreferenceStore.Open(folder.At("store"));
        Assert.Equal(confirmed, store.Choices().Select(choice => choice.Id));
    }

    [Theory]
    [InlineData("--mode", "check", "expected pair, best or rank")]
    [InlineData("--candidates", "3", "a pair has 2")]
    [InlineData("--host", "example.org", "expected an address")]
    [InlineData("--token", "short", "16 to 200 letters and digits")]
    [InlineData("--overlap", "0", "expected 1 to 1000")]
    public void Run_WrongOption_SaysWhatIsExpected(string option, string value, string expected) =>
        Cli.Run("label", option, value).FailsWith(2, expected);

    [Fact]
    public void Run_ImageOutsideTheFolder_IsRefused()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("metadata.jsonl"), """{"file_name": "../../etc/passwd", "text": "a"}""");
        Cli.Run("label", "--images", folder.Path, "--store", folder.At("store"))
            .FailsWith(1, "line 1", "expected a path inside the folder");
        File.WriteAllText(folder.At("metadata.jsonl"), """{"file_name": "metadata.jsonl", "text": "a"}""");
        Cli.Run("label", "--images", folder.Path, "--store", folder.At("store"))
            .FailsWith(1, "line 1", "expected a JPEG, PNG or WebP image");
    }
}
