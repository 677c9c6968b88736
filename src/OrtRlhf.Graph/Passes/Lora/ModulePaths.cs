namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Which module each layer is. Its path stands in its node's name (<c>/mid_block/attn1/to_q/MatMul</c>) and in its weight's
/// (<c>mid_block.attn1.to_q.weight</c>). PyTorch's exporter takes the second away from linear layers, leaves modules that are not called
/// themselves out of
/// the first (<c>attn1.to_q</c>), and numbers what it meets again (<c>to_q_1</c>). Parameters near by that kept their names tell what is
/// missing.
/// </summary>
internal sealed class ModulePaths
{
    private static readonly string[] Suffixes = [".weight", ".bias", ".weight.T"];

    private readonly HashSet<string> _scopes = new(StringComparer.Ordinal);
    private readonly Dictionary<Node, int> _places = [];
    private readonly Dictionary<string, List<(int Place, string Prefix)>> _witnesses = new(StringComparer.Ordinal);

    public ModulePaths(OnnxGraph graph)
    {
        for (var i = 0; i < graph.Nodes.Count; i++)
        {
            _places[graph.Nodes[i]] = i;
            for (var scope = ScopeOf(graph.Nodes[i]); scope is not null
                && _scopes.Add(scope); scope = scope.LastIndexOf('/') is > 0 and var end ? scope[..end] : null) { }
        }
        foreach (var node in graph.Nodes)
        {
            if (Traced(node) is not { } path) continue;
            foreach (var parameter in node.Inputs.Select(ParameterOf).OfType<string>())
            {
                if (!Ends(parameter, path)) continue;
                foreach (var part in Starts(path))
                {
                    if (!_witnesses.TryGetValue(part, out var list)) _witnesses[part] = list = [];
                    list.Add((_places[node], parameter[..^path.Length]));
                }
            }
        }
    }

    /// <summary>The paths that a layer may go by, the fullest first; none where nothing tells one.</summary>
    public IEnumerable<string> Of(Node node)
    {
        var parameter = ParameterOf(node.Input(1));
        if (Traced(node) is not { } path) return parameter is null ? [] : [parameter];
        if (parameter is null) return [Prefix(node, path) + path];
        return Ends(parameter, path) ? [parameter] : [path, parameter];
    }

    /// <summary>What the nearest parameter says, of those that share most of the path.</summary>
    private string Prefix(Node node, string path)
    {
        foreach (var part in Starts(path))
        {
            if (!_witnesses.TryGetValue(part, out var list)) continue;
            var place = _places[node];
            var next = list.BinarySearch((place, ""), Comparer<(int Place, string)>.Create((a, b) => a.Place.CompareTo(b.Place)));
            if (next < 0) next = ~next;
            return next == list.Count || (next > 0 && place - list[next - 1].Place <= list[next].Place - place) ? list[next - 1].Prefix
                : list[next].Prefix;
        }
        return "";
    }

    /// <summary>A dotted path, and what is left when names are taken off its end.</summary>
    private static IEnumerable<string> Starts(string path)
    {
        for (var end = path.Length; end > 0; end = path.LastIndexOf('.', end - 1)) yield return path[..end];
    }

    /// <summary>The path in a node's name, without the numbers of what was met again; null where the name has none.</summary>
    private string? Traced(Node node)
    {
        if (ScopeOf(node) is not { } scope) return null;
        var parts = scope.Split('/');
        for (var i = 0; i < parts.Length; i++)
        {
            var number = parts[i].LastIndexOf('_');
            if (number > 0 && number < parts[i].Length - 1 && parts[i].AsSpan(number + 1).IndexOfAnyExceptInRange('0', '9') < 0
                && _scopes.Contains(string.Join('/', parts[..i].Append(parts[i][..number])))) parts[i] = parts[i][..number];
        }
        return string.Join('.', parts);
    }

    private static string? ScopeOf(Node node) => node.Name.LastIndexOf('/') is > 0 and var end ? node.Name[..end].Trim('/') : null;

    private static bool Ends(string path, string end) =>
        path.EndsWith(end, StringComparison.Ordinal) && (path.Length == end.Length || path[^(end.Length + 1)] == '.');

    /// <summary>The module that a weight or bias says it belongs to, seen through what only lays it out otherwise.</summary>
    private static string? ParameterOf(Value? value)
    {
        for (var depth = 0; value is not null && depth < 4; depth++)
        {
            if (value.Name.StartsWith("onnx::", StringComparison.Ordinal)) return null;
            if (!value.Name.Contains('/') && Suffixes.FirstOrDefault(s =>
                value.Name.EndsWith(s, StringComparison.Ordinal)) is { } suffix) return value.Name[..^suffix.Length];
            value = value.Producer is { Op: "Identity" or "Transpose" or "Cast" } node ? node.Input(0) : null;
        }
        return null;
    }
}
