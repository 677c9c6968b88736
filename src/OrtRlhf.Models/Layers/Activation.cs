using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>Activation functions by the names that configurations use.</summary>
internal static class Activation
{
    private static readonly Dictionary<string, Func<Value, Value>> Table = new(StringComparer.Ordinal)
    {
        ["silu"] = Silu,
        ["swish"] = Silu,
        ["relu"] = Relu,
        ["gelu"] = Gelu,
        ["quick_gelu"] = QuickGelu,
        ["gelu_new"] = GeluTanh,
        ["gelu_pytorch_tanh"] = GeluTanh,
        ["mish"] = x => x * Tanh(Softplus(x)),
    };

    /// <summary>The names.</summary>
    public static IReadOnlyCollection<string> Names => Table.Keys;

    /// <summary>Applies the function of a name that <see cref="ConfigReader.Activation"/> has checked.</summary>
    public static Value Apply(string name, Value x) => Table[name](x);
}
