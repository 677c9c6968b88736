using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>
/// Summaries of the libraries' doc comments, from the XML files that lie beside them: what help says of options is what the code says.
/// </summary>
internal static partial class DocComments
{
    private static readonly Dictionary<string, Dictionary<string, XElement>> Files = new(StringComparer.Ordinal);

    /// <summary>The summary of a property as one line of text.</summary>
    public static string Of(PropertyInfo property) =>
        Text(property.DeclaringType!.Assembly, $"P:{property.DeclaringType.FullName}.{property.Name}");

    /// <summary>The summary of a type.</summary>
    public static string Of(Type type) => Text(type.Assembly, "T:" + type.FullName);

    private static string Text(Assembly assembly, string member)
    {
        if (Members(assembly.GetName().Name!).GetValueOrDefault(member) is not { } comment) return "";
        if (comment.Element("inheritdoc")?.Attribute("cref")?.Value is { } other) return Text(assembly, other);
        return Blanks().Replace(string.Concat((comment.Element("summary")?.Nodes() ?? []).Select(Plain)), " ").Trim();
    }

    private static string Plain(XNode node) => node switch
    {
        XText text => text.Value,
        XElement { Name.LocalName: "see" } see when see.Attribute("cref")?.Value is { } cref =>
            OptionNames.Of(cref[(cref.LastIndexOf('.') + 1)..]),
        XElement element => string.Concat(element.Nodes().Select(Plain)),
        _ => "",
    };

    private static Dictionary<string, XElement> Members(string assembly)
    {
        if (Files.TryGetValue(assembly, out var known)) return known;
        var path = Path.Combine(AppContext.BaseDirectory, assembly + ".xml");
        try
        {
            return Files[assembly] = XDocument.Load(path).Descendants("member").ToDictionary(member => member.Attribute("name")!.Value);
        }
        catch (Exception fault) when (fault is IOException or XmlException)
        {
            return Files[assembly] = []; // a program without them still lists names, ranges and defaults
        }
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();
}
