using System.Text.RegularExpressions;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

/// <summary>
/// The rooms, read from the sources: a room is a folder of a project, and uses another when it names a type that is declared there. No room
/// is used by one it uses.
/// </summary>
public class RoomsTests
{
    private const int Files = 25, Lines = 1500, ProjectLines = 7000;

    private static readonly Regex Ignored = new("""
        //[^\n]*|/\*.*?\*/|\$*\"{3,}.*?\"{3,}|'(?:\\.[^']*|[^'\\])'|(?:@\$?|\$@)"(?:""|[^"])*"|\$*"(?:\\.|[^"\\\n])*"
        """, RegexOptions.Singleline);

    private static readonly Regex Declared =
        new(@"\b(?:class|interface|enum|struct|record(?:\s+struct|\s+class)?|delegate\s+[\w<>\[\]?,. ]+?)\s+([A-Z]\w*)");
    private static readonly Regex Space = new(@"^\s*namespace\s+([\w.]+)", RegexOptions.Multiline);
    private static readonly Regex Using = new(@"^\s*(?<global>global\s+)?using\s+(?:static\s+)?(?:\w+\s*=\s*)?(?<name>[\w.]+)\s*;",
        RegexOptions.Multiline);
    private static readonly Regex Name = new(@"\b[A-Z]\w*\b");

    private sealed record Source(string Folder, int Lines, string Code)
    {
        public string Room { get; } = string.Join('/', Folder.Split('/').Take(2));

        public string Namespace { get; } = Space.Match(Code).Groups[1].Value;

        public string[] Usings { get; } = [.. Using.Matches(Code).Select(u => u.Groups["name"].Value)];

        public bool Sees(string name, Source other) => $"{Namespace}.".StartsWith($"{other.Namespace}.", StringComparison.Ordinal)
            || Usings.Any(u => u == other.Namespace || u == $"{other.Namespace}.{name}"
                || u.StartsWith($"{other.Namespace}.", StringComparison.Ordinal));
    }

    private static readonly Source[] Sources = [.. Read()];

    [Fact]
    public void Rooms_UseEachOtherOneWay() => None(Circles([.. Uses(Sources)]));

    [Fact]
    public void Folders_AreSmall() => None(Sources.GroupBy(s => s.Folder).Where(f => f.Count() > Files || f.Sum(s => s.Lines) > Lines)
        .Select(f => $"{f.Key}: {f.Count()} files of at most {Files}, {f.Sum(s => s.Lines)} lines of at most {Lines}"));

    [Fact]
    public void Projects_AreSmall() => None(Sources.GroupBy(s => s.Room.Split('/')[0]).Where(p => p.Sum(s => s.Lines) > ProjectLines)
        .Select(p => $"{p.Key}: {p.Sum(s => s.Lines)} lines of at most {ProjectLines}"));

    [Fact]
    public void GlobalUsings_NameNoneOfOurs()
    {
        Assert.Empty(Sources.Where(s => Using.Matches(s.Code).Any(u =>
            u.Groups["global"].Success && u.Groups["name"].Value.StartsWith("OrtRlhf", StringComparison.Ordinal))).Select(s => s.Folder));
        var projects = Directory.GetFiles(Path.Combine(GoldenFile.Repository, "src"), "*.csproj", SearchOption.AllDirectories)
            .Concat(Directory.GetFiles(GoldenFile.Repository, "Directory.*"));
        Assert.DoesNotContain(projects, p => File.ReadAllText(p).Contains("<Using Include=\"OrtRlhf", StringComparison.Ordinal));
    }

    // What the other tests must find.
    [Fact]
    public void UsesAndCircles_AreSeen()
    {
        Assert.Contains(Uses(Sources), u =>
            u is { From: "OrtRlhf.Tuning/Epochs", To: "OrtRlhf.Diffusion/Sessions", Name: "SessionSettings" });
        Source[] three =
        [
            new("P/A", 1, Code("using P.B;\nnamespace P.A; class One { Two x; }")),
            new("P/B", 1, Code("using P.A;\nnamespace P.B; class Two { string s = \"One\"; /* One */ object o = new One(); }")),
            new("P/C", 1, Code("using P.A;\nnamespace P.C; class Three { string s = \"\\\"\", t = \"\"\"a \" One\"\"\"; char c = '\"'; "
                + "One x; // Two")),
        ];
        Assert.Equal(["P/A -> P/B (Two)", "P/B -> P/A (One)"], Circles([.. Uses(three)]).Order());
        Assert.Contains(Uses(three), u => u is { From: "P/C", To: "P/A" });
        Assert.DoesNotContain("Two", three[2].Code);
    }

    private static IEnumerable<(string From, string To, string Name)> Uses(Source[] sources)
    {
        var homes = sources.SelectMany(s => Declared.Matches(s.Code).Select(d => (Name: d.Groups[1].Value, Source: s))).ToLookup(d =>
            d.Name, d => d.Source);
        return from source in sources
               from name in Name.Matches(source.Code).Select(m => m.Value).Distinct()
               let there = homes[name].Where(home => source.Sees(name, home)).ToArray()
               where !there.Contains(source)
               from room in there.Select(home => home.Room).Distinct()
               where room != source.Room
               select (source.Room, room, name);
    }

    // Rooms that use no other, or that no other uses, stand in no circle: without them, and so on, circles are left.
    private static IEnumerable<string> Circles(List<(string From, string To, string Name)> uses)
    {
        while (uses.RemoveAll(use => !uses.Exists(u => u.From == use.To) || !uses.Exists(u => u.To == use.From)) > 0) ;
        return uses.GroupBy(u => (u.From, u.To)).Select(u =>
            $"{u.Key.From} -> {u.Key.To} ({string.Join(", ", u.Select(n => n.Name).Distinct())})");
    }

    // Assert.Empty shortens them
    private static void None(IEnumerable<string> faults) => Assert.True(!faults.Any(), string.Join('\n', faults));

    private static string Code(string text) => Ignored.Replace(text, " ");

    private static IEnumerable<Source> Read()
    {
        var root = Path.Combine(GoldenFile.Repository, "src");
        foreach (var path in Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories))
        {
            var folder = Path.GetRelativePath(root, Path.GetDirectoryName(path)!).Replace('\\', '/');
            if (folder.Split('/') is [_, "bin" or "obj", ..]) continue;
            var text = File.ReadAllText(path);
            yield return new(folder, text.Count(c => c == '\n'), Code(text));
        }
    }
}
