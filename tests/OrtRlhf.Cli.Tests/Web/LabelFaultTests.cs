using System.Net;
using System.Net.Http.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Preferences;
using OrtRlhf.Preferences.Labelling;
using OrtRlhf.Tests;
using OrtRlhf.Web;

namespace OrtRlhf.Cli.Tests.Web;

public class LabelFaultTests
{
    public static TheoryData<string, Exception, HttpStatusCode, string> Faults => new()
    {
        { "full", new StoreError("preferences 'x': full; free some space", new IOException("full")), HttpStatusCode.ServiceUnavailable,
            "free some space" },
        { "wrong", new UserError("choice 'a1': wrong"), HttpStatusCode.BadRequest, "wrong" },
        { "wrong, with a cause", new UserError("choice 'a1': not valid", new FormatException("odd")), HttpStatusCode.BadRequest,
            "not valid" },
        { "ours", new InvalidOperationException("secret"), HttpStatusCode.InternalServerError, "the server failed" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Answer_StatusSaysWhoseFaultItIs(string name, Exception fault, HttpStatusCode expected, string line)
    {
        using var folder = new TempFolder();
        using var store = new FaultyStore(PreferenceStore.Open(folder.At(name), create: true), fault);
        store.Add((Candidate[])[.. Enumerable.Range(0, 2).Select(i => store.Folder.Write(new RgbImage(16, 16), "a cat"))]);
        using var queue = new LabelQueue(store, new());
        await using var server = await LabelServer.Start(queue, store.Folder, new(IPAddress.Loopback, 0, null, "which?"));
        using var client = new HttpClient { BaseAddress = new($"http://localhost:{server.Port}") };
        client.DefaultRequestHeaders.Add(RequestGuard.Header, "1");
        var question = queue.View("ada").Questions[0];
        using var reply = await client.PostAsJsonAsync("/api/answer",
            new { rater = "ada", id = "a1", question = question.Id, candidates = question.Candidates, ranks = (int[])[0, 1] });
        var text = await reply.Content.ReadAsStringAsync();
        Assert.Equal(expected, reply.StatusCode);
        Assert.Contains(line, text);
        Assert.DoesNotContain("secret", text);
    }

    private sealed class FaultyStore(IPreferenceStore store, Exception fault) : IPreferenceStore
    {
        public PreferenceFolder Folder => store.Folder;

        public int Add(IReadOnlyList<Candidate> candidates) => store.Add(candidates);

        public int Add(IReadOnlyList<Choice> choices) => throw fault;

        public bool Undo(string choice, string rater) => store.Undo(choice, rater);

        public IReadOnlyList<Candidate> Candidates() => store.Candidates();

        public IReadOnlyList<Choice> Choices(string? rater = null) => store.Choices(rater);

        public void Dispose() => store.Dispose();
    }
}
