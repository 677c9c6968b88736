using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using Xunit.v3;

namespace OrtRlhf.Tests;

/// <summary>
/// A PostgreSQL server of Debian's packages with one database, on a free port of this machine, as long as the tests of a class.
/// </summary>
public sealed class PostgresServer : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ortrlhf-postgres-").FullName;
    private Process? _server;

    public PostgresServer()
    {
        if (Binaries is null) return;
        var data = Path.Combine(_folder, "data");
        File.WriteAllText(Path.Combine(_folder, "password"), Password);
        if (Account.Length > 0) Wait("chown", "-R", "postgres", _folder);
        Wait([.. Account, Path.Combine(Binaries, "initdb"), "-D", data, "-U", "rater", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256",
            "--no-sync", "--pwfile", Path.Combine(_folder, "password")]);
        using (var probe = new TcpListener(IPAddress.Loopback, 0))
        {
            probe.Start();
            Port = ((IPEndPoint)probe.LocalEndpoint).Port;
        }
        Start();
    }

    /// <summary>Where a store on it is, with images in a folder.</summary>
    public string Store(string images) => $"postgresql://rater:{Uri.EscapeDataString(Password)}@127.0.0.1:{Port}/postgres#images={images}";

    /// <summary>kill -9 of the server and all its processes.</summary>
    public void Kill()
    {
        _server!.Kill(entireProcessTree: true);
        _server.WaitForExit();
        _server.Dispose();
        _server = null;
    }

    /// <summary>Starts the server, again after <see cref="Kill"/>, and waits until it answers.</summary>
    public void Start()
    {
        _server = Start([.. Account, Path.Combine(Binaries!, "postgres"), "-D", Path.Combine(_folder, "data"), "-k", _folder, "-p",
            $"{Port}", "-c", "listen_addresses=127.0.0.1"]);
        for (var i = 0; i < 300; i++)
        {
            using var ready = Start(Path.Combine(Binaries!, "pg_isready"), "-h", "127.0.0.1", "-p", $"{Port}", "-q");
            ready.WaitForExit();
            if (ready.ExitCode == 0) return;
            Thread.Sleep(100);
        }
        throw new InvalidOperationException("the PostgreSQL server did not start within 30 seconds");
    }

    /// <summary>A password with characters that an address must escape.</summary>
    public const string Password = "se:cr/et@1";

    public int Port { get; }

    /// <summary>Where the programs lie; null when PostgreSQL is not installed.</summary>
    public static string? Binaries { get; } = Directory.Exists("/usr/lib/postgresql")
        ? Directory.GetDirectories("/usr/lib/postgresql").Select(version => Path.Combine(version, "bin")).Where(bin =>
            File.Exists(Path.Combine(bin, "initdb"))).Max()
        : null;

    // The server refuses to run as root.
    private static string[] Account =>
        Environment.UserName == "root" ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];

    public void Dispose()
    {
        if (_server is not null) Kill();
        Directory.Delete(_folder, recursive: true);
    }

    private static Process Start(params string[] command) =>
        Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, WorkingDirectory = "/" })!;

    private static void Wait(params string[] command)
    {
        using var process = Start(command);
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{string.Join(' ', command)} returned {process.ExitCode}");
    }
}

/// <summary>Skips a test that needs PostgreSQL's server, where it is not installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NeedsPostgresAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) =>
        Assert.SkipWhen(PostgresServer.Binaries is null, "PostgreSQL is not installed (apt-get install postgresql)");
}
