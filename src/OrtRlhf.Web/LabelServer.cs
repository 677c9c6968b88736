using System.Net;
using System.Reflection;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using OrtRlhf.Graph;
using OrtRlhf.Preferences;
using OrtRlhf.Preferences.Labelling;

namespace OrtRlhf.Web;

/// <summary>Where and to whom the page is served.</summary>
/// <param name="Address">The address to listen on.</param>
/// <param name="Port">The port; 0 takes a free one.</param>
/// <param name="Token">What a browser must know; null where only loopback is served.</param>
/// <param name="Question">What the page asks.</param>
internal sealed record LabelServerOptions(IPAddress Address, int Port, string? Token, string Question);

/// <summary>The page to label, and the few requests it makes; everything else is in <see cref="LabelQueue"/>.</summary>
internal sealed class LabelServer : IAsyncDisposable
{
    private const int LargestBody = 64 << 10;
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private static readonly Dictionary<string, string> Types = new()
    {
        [".html"] = "text/html; charset=utf-8",
        [".css"] = "text/css",
        [".js"] = "text/javascript",
        [".png"] = "image/png",
        [".jpg"] = "image/jpeg",
        [".webp"] = "image/webp"
    };
    private readonly WebApplication _app;
    private readonly LabelQueue _queue;
    private readonly PreferenceFolder _folder;

    private LabelServer(WebApplication app, LabelQueue queue, PreferenceFolder folder) => (_app, _queue, _folder) = (app, queue, folder);

    /// <summary>Starts to serve.</summary>
    /// <param name="queue">The questions.</param>
    /// <param name="folder">Where the images lie.</param>
    /// <param name="options">Where and to whom.</param>
    /// <exception cref="UserError">The address cannot be listened on.</exception>
    public static async Task<LabelServer> Start(LabelQueue queue, PreferenceFolder folder, LabelServerOptions options)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.MaxConcurrentConnections = 1000;
            kestrel.Listen(options.Address, options.Port);
        });
        var server = new LabelServer(builder.Build(), queue, folder);
        server.Map(options);
        try
        {
            await server._app.StartAsync();
        }
        catch (Exception fault) when (fault is IOException or System.Net.Sockets.SocketException)
        {
            await server.DisposeAsync();
            throw new UserError(
                $"label: cannot listen on {options.Address}:{options.Port} ({fault.Message}); choose another `Port`, 0 for any", fault);
        }
        return server;
    }

    /// <summary>The port it listens on.</summary>
    public int Port => new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        await _app.StopAsync(soon.Token);
        await _app.DisposeAsync();
    }

    private void Map(LabelServerOptions options)
    {
        var guard = new RequestGuard(options.Token);
        _app.Use(Faults);
        _app.Use((context, next) => guard.Invoke(context, _ => next(context)));
        foreach (var (path, file) in (ReadOnlySpan<(string, string)>)[("/", "label.html"), ("/label.css", "label.css"),
            ("/label.js", "label.js")])
        {
            var (bytes, type) = (Page(file), Types[Path.GetExtension(file)]);
            _app.MapGet(path, context => Send(context, bytes, type));
        }
        var greeting = new Greeting(options.Question, JsonNamingPolicy.CamelCase.ConvertName(_queue.Options.Mode.ToString()),
            _queue.Options.Candidates);
        _app.MapGet("/api/greeting", context => Send(context, greeting));
        _app.MapPost("/api/view", async context => await View(context, RaterOf((await Read<ViewRequest>(context)).Rater)));
        _app.MapPost("/api/answer", async context =>
        {
            var answer = await Read<AnswerRequest>(context);
            var rater = RaterOf(answer.Rater);
            if (!Candidate.IsId(answer.Id) || answer is not { Question: not null, Candidates: not null, Ranks: not null })
                throw new UserError("answer: expected rater, id, question, candidates and ranks");
            if (!await _queue.Answer(rater, answer.Id!, answer.Question, answer.Candidates, answer.Ranks,
                answer.Comment)) context.Response.StatusCode = 409;
            await View(context, rater);
        });
        _app.MapPost("/api/undo", async context =>
        {
            var undo = await Read<UndoRequest>(context);
            var rater = RaterOf(undo.Rater);
            if (undo.Choice is null || !await _queue.Undo(rater, undo.Choice)) context.Response.StatusCode = 409;
            await View(context, rater);
        });
        _app.MapGet("/images/{id}", context => Image(context, (string)context.Request.RouteValues["id"]!));
    }

    private Task View(HttpContext context, string rater) => Send(context, ViewReply.Of(_queue.View(rater), rater));

    private async Task Image(HttpContext context, string id)
    {
        if (_queue.Find(id) is not { } candidate || _folder.At(candidate.Image) is not { } path || !Types.TryGetValue(Path.GetExtension(
            path).ToLowerInvariant(), out var type) || !type.StartsWith("image/", StringComparison.Ordinal) || !File.Exists(path))
        {
            await RequestGuard.Refuse(context, 404, "no such image");
            return;
        }
        context.Response.Headers.CacheControl = "private, max-age=86400, immutable";
        context.Response.ContentType = type;
        await context.Response.SendFileAsync(path, context.RequestAborted);
    }

    // One line for what the page should not have sent; what is our own fault goes to the terminal.
    private static async Task Faults(HttpContext context, RequestDelegate next)
    {
        try
        {
            await next(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
        }
        catch (Exception fault) when (!context.Response.HasStarted)
        {
            var (status, line) = fault switch
            {
                BadHttpRequestException bad =>
                    (bad.StatusCode, bad.StatusCode == 413 ? $"expected at most {LargestBody >> 10} kB" : "the request is not valid"),
                JsonException => (400, "the request is not the JSON expected"),
                StoreError store => (503, store.Message),
                UserError user => (400, user.Message),
                _ => (500, "the server failed; its terminal says more"),
            };
            if (status >= 500) Console.Error.WriteLine($"label: {(status == 500 ? fault.ToString() : fault.Message)}");
            await RequestGuard.Refuse(context, status, line);
        }
    }

    private static string RaterOf(string? name) =>
        name?.Trim() is { Length: >= 1 and <= 60 } rater ? rater : throw new UserError("expected a rater's name of 1 to 60 characters");

    private static async Task<T> Read<T>(HttpContext context) =>
        await context.Request.ReadFromJsonAsync<T>(Json, context.RequestAborted) ?? throw new JsonException();

    private static Task Send<T>(HttpContext context, T value) => context.Response.WriteAsJsonAsync(value, Json, context.RequestAborted);

    private static Task Send(HttpContext context, byte[] bytes, string type)
    {
        (context.Response.ContentType, context.Response.ContentLength) = (type, bytes.Length);
        return context.Response.Body.WriteAsync(bytes, context.RequestAborted).AsTask();
    }

    private static byte[] Page(string file)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"Pages/{file}")!;
        using var memory = new MemoryStream();
        stream.CopyTo(memory);
        return memory.ToArray();
    }
}
