namespace OrtRlhf.Graph;

/// <summary>
/// A model as data: nodes in topological order, inputs, outputs, constants and parameters. Nodes are added through
/// <see cref="Op(string, Value?[], ValueTuple{string, object}[])"/> or the expressions on <see cref="Value"/>; shapes are inferred as they
/// are added.
/// </summary>
public sealed class OnnxGraph
{
    /// <summary>
    /// Operator set of composites: operators of ours that have a gradient of their own and are lowered to ONNX operators before a model is
    /// written.
    /// </summary>
    public const string CompositeDomain = "ortrlhf";

    private readonly Dictionary<string, Value> _values = new(StringComparer.Ordinal);
    private readonly Dictionary<(ElementType, double), Value> _scalars = [];
    private readonly Dictionary<string, int> _counters = new(StringComparer.Ordinal);
    private readonly List<string> _scopes = [];
    private List<Node>? _target;

    /// <summary>Makes an empty graph.</summary>
    /// <param name="name">Its name, kept in files.</param>
    public OnnxGraph(string name) => Name = name;

    /// <summary>Its name, kept in files.</summary>
    public string Name { get; set; }

    /// <summary>Version of ONNX's own operator set; 17 for graphs built here.</summary>
    public int Opset { get; set; } = 17;

    /// <summary>Versions of the other operator sets that a file named; those it did not name are written as version 1.</summary>
    internal SortedDictionary<string, long> Domains { get; } = new(StringComparer.Ordinal);

    /// <summary>Nodes in topological order.</summary>
    public List<Node> Nodes { get; private set; } = [];

    /// <summary>Inputs that must be given, and parameters (inputs with a default in <see cref="Value.Data"/>).</summary>
    public List<Value> Inputs { get; } = [];

    /// <summary>Outputs.</summary>
    public List<Value> Outputs { get; } = [];

    /// <summary>Free text kept with the model (ONNX <c>metadata_props</c>).</summary>
    public SortedDictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <summary>All values by name.</summary>
    public IReadOnlyDictionary<string, Value> Values => _values;

    /// <summary>Constants: values with data that the graph does not take from outside.</summary>
    public IEnumerable<Value> Constants => _values.Values.Where(v => v.IsConstant);

    /// <summary>A value by name.</summary>
    /// <exception cref="UserError">There is none of that name.</exception>
    public Value this[string name] => _values.TryGetValue(name, out var value)
        ? value
        : throw new UserError($"graph '{Name}': no value named '{name}'; inputs are "
            + $"{string.Join(", ", Inputs.Where(i => i.Data is null).Select(i => i.Name))}");

    /// <summary>Adds an input.</summary>
    public Value Input(string name, ElementType type, params Dim[] shape)
    {
        var value = NewValue(name);
        value.Type = type;
        value.Shape = new Shape(shape);
        value.IsInput = true;
        Inputs.Add(value);
        return value;
    }

    /// <summary>Adds a constant.</summary>
    public Value Constant(Tensor data, string? name = null)
    {
        var value = NewValue(name ?? Unique("constant"));
        value.Data = data;
        value.Type = data.Type;
        value.Shape = data.Shape;
        return value;
    }

    /// <summary>Adds a parameter: an input with a default, which a session may bind to another tensor.</summary>
    public Value Parameter(string name, Tensor initial)
    {
        var value = Constant(initial, name);
        value.IsInput = true;
        Inputs.Add(value);
        return value;
    }

    /// <summary>Makes a constant overridable from outside, its data becoming the default.</summary>
    public void MakeParameter(Value constant)
    {
        if (constant.IsInput) return;
        if (constant.Data is null) throw new UserError(
            $"graph '{Name}': value '{constant.Name}' is not a constant, so it cannot become a parameter");
        constant.IsInput = true;
        Inputs.Add(constant);
    }

    /// <summary>Makes a parameter or a plain input a constant with the given data.</summary>
    public void MakeConstant(Value input, Tensor data)
    {
        input.Data = data;
        input.IsInput = false;
        input.Type = data.Type;
        input.Shape = data.Shape;
        Inputs.Remove(input);
    }

    /// <summary>A scalar constant, shared by all who ask for the same number.</summary>
    public Value Scalar(ElementType type, double number)
    {
        if (!_scalars.TryGetValue((type, number), out var value) || value.IsInput)
            _scalars[(type, number)] = value = Constant(Tensor.Scalar(type, number), Unique("scalar"));
        return value;
    }

    /// <summary>Declares an output, under a name of its own where one is given.</summary>
    public Value Output(Value value, string? name = null)
    {
        if (name is not null && name != value.Name)
        {
            if (value.Producer is null || Outputs.Contains(value)) value = Op("Identity", [value]);
            Rename(value, name);
        }
        Outputs.Add(value);
        return value;
    }

    /// <summary>Changes a value's name.</summary>
    /// <exception cref="UserError">The name is taken.</exception>
    public void Rename(Value value, string name)
    {
        if (value.Name == name) return;
        if (!_values.TryAdd(name, value)) throw new UserError($"graph '{Name}': the name '{name}' is taken already");
        _values.Remove(value.Name);
        value.Name = name;
    }

    /// <summary>Adds a node of one output and gives that output, its type and shape inferred.</summary>
    /// <param name="op">ONNX operator.</param>
    /// <param name="inputs">Inputs by position; null where an optional one is left out.</param>
    /// <param name="attributes">Attributes by name.</param>
    public Value Op(string op, Value?[] inputs, params (string Name, object Value)[] attributes) => Op(op, "", 1, inputs, attributes)[0];

    /// <summary>Adds a node of several outputs.</summary>
    /// <param name="op">Operator.</param>
    /// <param name="domain">Operator set.</param>
    /// <param name="outputs">Number of outputs.</param>
    /// <param name="inputs">Inputs by position; null where an optional one is left out.</param>
    /// <param name="attributes">Attributes by name.</param>
    public Value[] Op(string op, string domain, int outputs, Value?[] inputs, params (string Name, object Value)[] attributes)
    {
        var node = new Node(this, op, domain, "/" + string.Join("/", _scopes.Append(op)));
        node.Inputs.AddRange(inputs);
        foreach (var (name, value) in attributes) node.Attributes[name] = value;
        for (var i = 0; i < outputs; i++)
            node.Outputs.Add(NewValue(Unique(_scopes.Count == 0 ? op : string.Join("/", _scopes.Append(op))), node));
        OperatorShapes.Infer(node);
        (_target ?? Nodes).Add(node);
        return [.. node.Outputs.Select(v => v!)];
    }

    /// <summary>
    /// Nodes added until the result is disposed carry this module name in their path. A name that starts with <c>/</c> is a whole path,
    /// which stands in place of the names that are open.
    /// </summary>
    public IDisposable Scope(string name)
    {
        string[] open = [.. _scopes];
        if (name.StartsWith('/')) _scopes.Clear();
        if (name.TrimStart('/') is { Length: > 0 } module) _scopes.Add(module);
        return new Ending(() =>
        {
            _scopes.Clear();
            _scopes.AddRange(open);
        });
    }

    /// <summary>
    /// Replaces the nodes: each node is kept, or replaced by those that <paramref name="rewrite"/> adds to the graph while it runs.
    /// It says true when it replaced the node (and has redirected the node's outputs, see <see cref="Redirect"/>).
    /// </summary>
    public void Rewrite(Func<Node, bool> rewrite)
    {
        var result = new List<Node>(Nodes.Count);
        var added = new List<Node>();
        _target = added;
        try
        {
            foreach (var node in Nodes)
            {
                added.Clear();
                var replaced = rewrite(node);
                result.AddRange(added);
                if (!replaced) result.Add(node);
            }
        }
        finally
        {
            _target = null;
        }
        Nodes = result;
    }

    /// <summary>
    /// While <see cref="Rewrite"/> runs, puts the node it asks about here, before the nodes added from now on (then it must say true).
    /// </summary>
    public void Keep(Node node) => (_target ?? throw new InvalidOperationException("only while the graph is rewritten")).Add(node);

    /// <summary>Makes all readers of one value, and the graph's outputs, read another; names of outputs stay.</summary>
    public void Redirect(Value from, Value to, IReadOnlyDictionary<Value, List<Node>>? readers = null)
    {
        var nodes = readers is not null && readers.TryGetValue(from, out var known) ? known : readers is null
            ? Nodes.Concat(_target ?? []) : [];
        foreach (var node in nodes.ToList()) node.Substitute(value => value == from ? to : value);
        for (var i = 0; i < Outputs.Count; i++)
        {
            if (Outputs[i] != from) continue;
            Outputs[i] = to;
            var name = from.Name;
            Rename(from, Unique("replaced"));
            Rename(to, name);
        }
    }

    /// <summary>The nodes that read each value.</summary>
    public Dictionary<Value, List<Node>> Readers()
    {
        var readers = new Dictionary<Value, List<Node>>();
        foreach (var node in Nodes)
        {
            foreach (var input in node.Reads)
            {
                if (!readers.TryGetValue(input, out var list)) readers[input] = list = [];
                list.Add(node);
            }
        }
        return readers;
    }

    /// <summary>Removes nodes and constants that no output needs.</summary>
    public void RemoveUnused()
    {
        var needed = new HashSet<Value>(Outputs);
        for (var i = Nodes.Count - 1; i >= 0; i--)
        {
            var node = Nodes[i];
            if (!node.Outputs.Any(o => o is not null && needed.Contains(o))) continue;
            needed.UnionWith(node.Reads);
        }
        Nodes = [.. Nodes.Where(n => n.Outputs.Any(o => o is not null && needed.Contains(o)))];
        foreach (var value in _values.Values.Where(v => !needed.Contains(v) && !v.IsInput
            && (v.Producer is null || !v.Producer.Outputs.Any(o => o is not null && needed.Contains(o)))).ToList())
            _values.Remove(value.Name);
        foreach (var stale in _scalars.Where(s => !_values.ContainsKey(s.Value.Name)).Select(s => s.Key).ToList()) _scalars.Remove(stale);
    }

    /// <summary>Puts the nodes into topological order, changing their places as little as that needs.</summary>
    /// <exception cref="UserError">The graph has a cycle.</exception>
    public void Sort()
    {
        var waiting = new Dictionary<Node, int>();
        var readers = Readers();
        var place = Nodes.Select((node, i) => (node, i)).ToDictionary(p => p.node, p => p.i);
        var ready = new PriorityQueue<Node, int>();
        foreach (var node in Nodes)
        {
            waiting[node] = node.Reads.Count(i => i.Producer is not null);
            if (waiting[node] == 0) ready.Enqueue(node, place[node]);
        }
        var order = new List<Node>(Nodes.Count);
        while (ready.TryDequeue(out var node, out _))
        {
            order.Add(node);
            foreach (var output in node.Outputs.OfType<Value>())
            {
                foreach (var reader in readers.GetValueOrDefault(output) ?? [])
                    if (--waiting[reader] == 0) ready.Enqueue(reader, place[reader]);
            }
        }
        if (order.Count != Nodes.Count)
            throw new UserError(
                $"graph '{Name}': {Nodes.Count - order.Count} nodes form a cycle, among them {Nodes.First(n => waiting[n] > 0)}");
        Nodes = order;
    }

    /// <summary>
    /// Another graph of the same nodes and values, under the same names, which share their data: passes on one leave the other as it is.
    /// </summary>
    public OnnxGraph Copy()
    {
        var copy = new OnnxGraph(Name) { Opset = Opset };
        foreach (var (domain, version) in Domains) copy.Domains[domain] = version;
        foreach (var (key, text) in Metadata) copy.Metadata[key] = text;
        foreach (var (name, value) in _values)
        {
            var other = copy.NewValue(name);
            (other.Type, other.Shape, other.Data, other.IsInput) = (value.Type, value.Shape, value.Data, value.IsInput);
        }
        foreach (var node in Nodes)
        {
            var other = copy.AddRaw(node.Op, node.Domain, node.Name);
            other.Inputs.AddRange(node.Inputs.Select(Of));
            other.Outputs.AddRange(node.Outputs.Select(Of));
            foreach (var output in other.Outputs.OfType<Value>()) output.Producer = other;
            foreach (var (name, attribute) in node.Attributes) other.Attributes[name] = attribute;
            foreach (var (name, value) in node.Captured) other.Captured[name] = Of(value)!;
        }
        copy.Inputs.AddRange(Inputs.Select(value => Of(value)!));
        copy.Outputs.AddRange(Outputs.Select(value => Of(value)!));
        foreach (var (key, value) in _scalars) copy._scalars[key] = Of(value)!;
        foreach (var (stem, count) in _counters) copy._counters[stem] = count;
        return copy;

        Value? Of(Value? value) => value is null ? null : copy._values[value.Name];
    }

    /// <summary>Adds a node that was made elsewhere, such as one read from a file, without inferring shapes.</summary>
    internal Node AddRaw(string op, string domain, string name)
    {
        var node = new Node(this, op, domain, name);
        Nodes.Add(node);
        return node;
    }

    /// <summary>A new value of the given name.</summary>
    internal Value NewValue(string name, Node? producer = null)
    {
        var value = new Value(this, name) { Producer = producer };
        if (!_values.TryAdd(name, value)) throw new UserError($"graph '{Name}': the name '{name}' is taken already");
        return value;
    }

    private string Unique(string stem)
    {
        while (true)
        {
            var count = _counters.GetValueOrDefault(stem);
            _counters[stem] = count + 1;
            var name = $"{stem}_{count}";
            if (!_values.ContainsKey(name)) return name;
        }
    }

    private sealed class Ending(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
