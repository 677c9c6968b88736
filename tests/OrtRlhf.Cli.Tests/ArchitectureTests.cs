using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

namespace OrtRlhf.Cli.Tests;

/// <summary>
/// The rooms, read from the built assemblies: references go one way, and the pure rooms know no console, network or clock.
/// </summary>
public class ArchitectureTests
{
    private const string Graph = "OrtRlhf.Graph", Models = "OrtRlhf.Models", Learning = "OrtRlhf.Learning",
        Diffusion = "OrtRlhf.Diffusion", Scenes = "OrtRlhf.Scenes",
        Preferences = "OrtRlhf.Preferences", Rewards = "OrtRlhf.Rewards", Tuning = "OrtRlhf.Tuning", Web = "OrtRlhf.Web", Cli = "ortrlhf";

    private static readonly string[] Ours = [Graph, Models, Learning, Diffusion, Scenes, Preferences, Rewards, Tuning, Web, Cli];

    private static readonly string[] Clocks =
    [
        "System.DateTime.get_Now", "System.DateTime.get_UtcNow", "System.DateTime.get_Today", "System.DateTimeOffset.get_Now",
        "System.DateTimeOffset.get_UtcNow", "System.Environment.get_TickCount", "System.Environment.get_TickCount64",
    ];

    [Theory]
    [InlineData(Graph)]
    [InlineData(Models, Graph)]
    [InlineData(Learning, Graph)]
    [InlineData(Diffusion, Models, Learning, Graph)]
    [InlineData(Scenes, Learning, Graph)]
    [InlineData(Preferences, Diffusion, Models, Learning, Graph)]
    [InlineData(Rewards, Preferences, Scenes, Diffusion, Models, Learning, Graph)]
    [InlineData(Tuning, Rewards, Preferences, Scenes, Diffusion, Models, Learning, Graph)]
    [InlineData(Web, Preferences, Diffusion, Models, Learning, Graph)]
    [InlineData(Cli, Web, Tuning, Rewards, Preferences, Scenes, Diffusion, Models, Learning, Graph)]
    public void References_GoOneWay(string assembly, params string[] allowed) =>
        Assert.Empty(References(assembly).Intersect(Ours).Except(allowed));

    [Fact]
    public void References_AreSeen() => Assert.Contains(Diffusion, References(Tuning));

    [Theory]
    [InlineData(Graph)]
    [InlineData(Models)]
    public void PureRooms_KnowNoConsoleNetworkOrClock(string assembly) =>
        Assert.Empty(OutsideWorld(Path.Combine(AppContext.BaseDirectory, assembly + ".dll")));

    [Fact]
    public void OutsideWorld_IsSeen()
    {
        // What the detector must find, compiled into this very assembly.
        Func<object> clock = () => DateTime.UtcNow;
        Func<object> watch = () => new System.Diagnostics.Stopwatch();
        Action console = Console.WriteLine;
        Func<object> network = () => new System.Net.Http.HttpClient();
        Assert.NotNull(new Delegate[] { clock, watch, console, network });

        var found = OutsideWorld(typeof(ArchitectureTests).Assembly.Location);

        Assert.Contains("System.DateTime.get_UtcNow", found);
        Assert.Contains("System.Diagnostics.Stopwatch", found);
        Assert.Contains("System.Console", found);
        Assert.Contains("System.Net.Http.HttpClient", found);
    }

    private static string[] References(string assembly) => Read(Path.Combine(AppContext.BaseDirectory, assembly + ".dll"), m =>
        m.AssemblyReferences.Select(r => m.GetString(m.GetAssemblyReference(r).Name)).ToArray());

    private static string[] OutsideWorld(string path) => Read(path, m =>
    {
        string Name(TypeReference type) => $"{m.GetString(type.Namespace)}.{m.GetString(type.Name)}";
        var types = m.TypeReferences.Select(t => Name(m.GetTypeReference(t))).Where(t =>
            t is "System.Console" or "System.TimeProvider" or "System.Diagnostics.Stopwatch" or "System.Threading.Timer"
                || t.StartsWith("System.Net.", StringComparison.Ordinal));
        var members = m.MemberReferences.Select(m.GetMemberReference).Where(r => r.Parent.Kind == HandleKind.TypeReference)
            .Select(r => $"{Name(m.GetTypeReference((TypeReferenceHandle)r.Parent))}.{m.GetString(r.Name)}").Intersect(Clocks);
        return types.Concat(members).ToArray();
    });

    private static T Read<T>(string path, Func<MetadataReader, T> read)
    {
        using var file = new PEReader(File.OpenRead(path));
        return read(file.GetMetadataReader());
    }
}
