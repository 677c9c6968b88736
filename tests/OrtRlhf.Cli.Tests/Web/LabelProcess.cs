using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Cli.Tests.Web;

/// <summary>What the page is told.</summary>
internal sealed record View(ShownQuestion[] Questions, int Saved, int Open, string? Last, bool More);

/// <summary>A question as shown.</summary>
internal sealed record ShownQuestion(string Id, string Prompt, string[] Candidates);

/// <summary><c>ortrlhf label</c> as a process of its own, and what a page would ask it.</summary>
internal sealed class LabelProcess : IDisposable
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private readonly Process _process;
    private readonly Task<string> _error, _output;

    public LabelProcess(params string[] arguments)
    {
        _process = Cli.Start(["label", .. arguments]);
        _error = _process.StandardError.ReadToEndAsync();
        while (true)
        {
            var line = _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"the server ended: {_error.Result}");
            if (!line.StartsWith("label at ", StringComparison.Ordinal)) continue;
            Link = new Uri(line["label at ".Length..]);
            break;
        }
        _output = _process.StandardOutput.ReadToEndAsync();
        Url = $"http://localhost:{Link.Port}";
        Client = Browser();
    }

    /// <summary>What it printed, with the token if there is one.</summary>
    public Uri Link { get; }

    public string Url { get; }

    /// <summary>Sends what our page sends.</summary>
    public HttpClient Client { get; }

    public HttpClient Browser(bool own = true)
    {
        var client = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = true,
            UseProxy = false
        })
        { BaseAddress = new Uri(Url), Timeout = TimeSpan.FromSeconds(30) };
        if (own) client.DefaultRequestHeaders.Add("X-OrtRlhf", "1");
        return client;
    }

    public Task<View> View(string rater) => Ask("/api/view", new { rater });

    public Task<View> Answer(string rater, string id, ShownQuestion question, int[] ranks, string? comment = null) =>
        Ask("/api/answer", new { rater, id, question = question.Id, candidates = question.Candidates, ranks, comment });

    public async Task<View> Ask(string path, object body)
    {
        using var reply = await Client.PostAsJsonAsync(path, body);
        Assert.True(reply.StatusCode is HttpStatusCode.OK, $"{path}: {(int)reply.StatusCode} {await reply.Content.ReadAsStringAsync()}");
        return (await reply.Content.ReadFromJsonAsync<View>(Json))!;
    }

    /// <summary>kill -9.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    /// <summary>Ctrl-C.</summary>
    /// <returns>What it said when it ended.</returns>
    public async Task<string> Stop()
    {
        using (var kill = Process.Start("kill", ["-INT", $"{_process.Id}"])) await kill.WaitForExitAsync();
        await _process.WaitForExitAsync();
        Assert.True(_process.ExitCode == 0, $"exit code {_process.ExitCode}: {await _error}");
        return await _output;
    }

    public void Dispose()
    {
        if (!_process.HasExited) Kill();
        _process.Dispose();
        Client.Dispose();
    }

    /// <summary>A port that is free now.</summary>
    public static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>
    /// Writes a folder of images with captions: <paramref name="each"/> discs of random places and colours for each prompt.
    /// </summary>
    public static string Images(string folder, int prompts, int each = 2, Func<int, string>? caption = null)
    {
        Directory.CreateDirectory(folder);
        var random = new Random(7);
        using var list = new StreamWriter(Path.Combine(folder, "metadata.jsonl"));
        for (var i = 0; i < prompts * each; i++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"{i}.png"), ImageCodec.EncodePng(Disc(random)));
            list.WriteLine(JsonSerializer.Serialize(new
            {
                file_name = $"{i}.png",
                text = caption?.Invoke(i / each)
                ?? $"a disc, number {i / each}"
            }));
        }
        return folder;
    }

    private static RgbImage Disc(Random random)
    {
        const int Side = 48;
        var image = new RgbImage(Side, Side);
        var (x, y, r) = (random.Next(12, 36), random.Next(12, 36), random.Next(6, 12));
        var (ink, paper) = (Colour(0, 200), Colour(200, 256));
        for (var v = 0; v < Side; v++)
            for (var u = 0; u < Side; u++)
                image[u, v] = ((u - x) * (u - x)) + ((v - y) * (v - y)) < r * r ? ink : paper;
        return image;

        (byte, byte, byte) Colour(int from, int to) =>
            ((byte)random.Next(from, to), (byte)random.Next(from, to), (byte)random.Next(from, to));
    }
}
