using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace OrtRlhf.Tests;

/// <summary>
/// A service on this machine whose answers a test writes: status and body for the number of the request (from 0) and its JSON; a null
/// hangs.
/// </summary>
internal sealed class TestService : IDisposable
{
    private readonly HttpListener _listener = new();
    private readonly CancellationTokenSource _over = new();
    private int _requests;

    public TestService(Func<int, JsonElement, (int Status, string Body)?> answer)
    {
        using (var probe = new TcpListener(IPAddress.Loopback, 0))
        {
            probe.Start();
            Url = $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}/";
        }
        _listener.Prefixes.Add(Url);
        _listener.Start();
        _ = Task.Run(async () =>
        {
            while (!_over.IsCancellationRequested) _ = Answer(await _listener.GetContextAsync(), answer);
        });
    }

    public string Url { get; }

    /// <summary>A header of every answer.</summary>
    public (string Name, string Value)? Header { get; init; }

    public int Requests => _requests;

    /// <summary>Path and bearer token of the last request.</summary>
    public (string Path, string? Authorization) Last { get; private set; }

    public void Dispose()
    {
        _over.Cancel();
        _listener.Close();
    }

    private async Task Answer(HttpListenerContext context, Func<int, JsonElement, (int Status, string Body)?> answer)
    {
        var number = Interlocked.Increment(ref _requests) - 1;
        Last = (context.Request.Url!.AbsolutePath, context.Request.Headers["Authorization"]);
        // A GET has no body.
        using var body = context.Request.HasEntityBody ? await JsonDocument.ParseAsync(context.Request.InputStream) : JsonDocument.Parse("null");
        if (answer(number, body.RootElement) is not { } reply)
        {
            await Task.Delay(Timeout.Infinite, _over.Token);
            return;
        }
        context.Response.StatusCode = reply.Status;
        if (Header is { } header) context.Response.Headers[header.Name] = header.Value;
        var bytes = Encoding.UTF8.GetBytes(reply.Body);
        context.Response.ContentLength64 = bytes.Length;
        await context.Response.OutputStream.WriteAsync(bytes);
        context.Response.Close();
    }
}
