using System.Globalization;
using System.Text.RegularExpressions;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>
/// Low-rank adapters of text encoders: they are not trained, but merged into the encoders' weights when these are loaded, <c>W' = W + B
/// A</c>.
/// </summary>
internal static partial class TextAdapters
{
    /// <summary>A model whose text encoders have the layers in their weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="file">The adapter.</param>
    /// <exception cref="UserError">The model has no such text encoder or layer, or a layer of another size.</exception>
    public static ImageModel Merged(ImageModel model, AdapterFile file)
    {
        if (file.TextLayers.Count == 0) return model;
        var byEncoder = file.TextLayers.GroupBy(l => l.Component).ToDictionary(g => g.Key, g =>
            g.ToDictionary(l => l.Module, l => (l.A, l.B), StringComparer.Ordinal), StringComparer.Ordinal);
        if (byEncoder.Keys.FirstOrDefault(name => !model.TextEncoders.Any(e => e.Name == name)) is { } other)
            throw new UserError($"adapter '{file.Path}': has layers of {other}, but model '{model.Name}' has "
                + $"{(model.IsConditional ? string.Join(" and ", model.TextEncoders.Select(e => e.Name)) : "no text encoder")}; it "
                + $"belongs to another model");
        return model with
        {
            TextEncoders = [.. model.TextEncoders.Select(e =>
            byEncoder.TryGetValue(e.Name, out var layers) ? With(e, layers) : e)]
        };

        TextEncoder With(TextEncoder encoder, IReadOnlyDictionary<string, (Tensor A, Tensor B)> layers)
        {
            if (encoder.Graph is not { } build) return encoder;
            Build("batch"); // faults come now, not when the first prompt does
            return encoder with { Graph = Build };

            OnnxGraph Build(Dim batch)
            {
                var graph = build(batch);
                try
                {
                    MergeLora.Apply(graph, Present(graph, layers));
                    return graph;
                }
                catch (UserError fault)
                {
                    throw new UserError(
                        $"adapter '{file.Path}' does not fit {encoder.Name} of model '{model.Name}': {fault.Message}", fault);
                }
            }
        }
    }

    // The last layers may have been left out (clip-skip): then adapters of theirs have nothing to act on.
    private static Dictionary<string, (Tensor A, Tensor B)> Present(OnnxGraph graph,
        IReadOnlyDictionary<string, (Tensor A, Tensor B)> layers)
    {
        var count = InjectLora.Layers(graph).Select(Number).DefaultIfEmpty(-1).Max() + 1;
        return layers.Where(l => Number(l.Key) is var n && (n < 0 || n < count)).ToDictionary(StringComparer.Ordinal);
    }

    private static int Number(string module) =>
        Layer().Match(module) is { Success: true } match ? int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : -1;

    [GeneratedRegex(@"\.layers\.(\d{1,4})\.", RegexOptions.CultureInvariant)]
    private static partial Regex Layer();
}
