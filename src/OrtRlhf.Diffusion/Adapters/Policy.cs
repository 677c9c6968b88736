using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>
/// A model with low-rank adapters on its denoiser. The adapters' tensors lie in one buffer that sampler, trainer and optimizer share:
/// what the optimizer writes is what the next run reads. Adapters of text encoders stay as they are.
/// </summary>
public sealed class Policy : IDisposable
{
    private Policy(ImageModel model, LoraOptions lora, ParameterBuffer adapters) =>
        (Model, Base, Lora, Adapters) = (model, model, lora, adapters);

    /// <summary>The model; its text encoders have the layers of <see cref="TextLayers"/> in their weights.</summary>
    public ImageModel Model { get; }

    /// <summary>The model without any adapters.</summary>
    public ImageModel Base { get; private init; }

    /// <summary>Adapters of the text encoders, which are not trained.</summary>
    public IReadOnlyList<AdapterLayer> TextLayers { get; private init; } = [];

    /// <summary>Whether <see cref="AsBase"/> runs.</summary>
    public bool IsBase { get; private set; }

    /// <summary>Which layers are adapted, and the rank.</summary>
    public LoraOptions Lora { get; }

    /// <summary>The tensors A and B of every adapted layer.</summary>
    public ParameterBuffer Adapters { get; }

    /// <summary>Makes a policy that is the base model: A drawn from N(0, 1/r^2) as diffusers' "gaussian", B zero.</summary>
    /// <param name="model">The model.</param>
    /// <param name="lora">Which layers.</param>
    /// <param name="seed">Seed of A.</param>
    /// <exception cref="UserError">A target matches no layer.</exception>
    public static Policy Create(ImageModel model, LoraOptions lora, ulong seed)
    {
        lora = lora with { Type = ElementType.Float, Prefix = model.AdapterPrefix };
        var layers = InjectLora.Apply(model.Denoiser("batch"), lora);
        var adapters = new ParameterBuffer([.. layers.SelectMany(l => new[] { l.A, l.B }).Select(v => (v.Name, v.Data!.Dims))]);
        for (var i = 0; i < layers.Count; i++)
        {
            var a = adapters[layers[i].A.Name];
            new Philox(seed, 0, (uint)i, RandomStep.Initialization).FillGaussian(a);
            foreach (ref var value in a) value /= lora.Rank;
        }
        return new Policy(model, lora, adapters);
    }

    /// <summary>A policy that is the base model, without adapters.</summary>
    public static Policy OfBase(ImageModel model) => new(model, new LoraOptions { Targets = [] }, new ParameterBuffer());

    /// <summary>A policy with the adapters of a file, of any ranks.</summary>
    /// <param name="model">The model.</param>
    /// <param name="file">The adapters.</param>
    /// <param name="trainable">Whether training goes on from them: each layer keeps its rank. Else the ranks are open, as runtimes take
    /// them.</param>
    /// <exception cref="UserError">A layer of the file is not one of this model, or of another size.</exception>
    public static Policy WithAdapter(ImageModel model, AdapterFile file, bool trainable = false)
    {
        file = KohyaNames.Named(file, model);
        if (trainable && file.Layers.Count == 0) throw new UserError($"adapter '{file.Path}': has layers of text encoders only, and "
            + $"training goes on with those of the denoiser; merge it into the model first");
        var ranks = trainable ? file.Layers.ToDictionary(l => l.Module, l => l.Rank, StringComparer.Ordinal) : null;
        var lora = new LoraOptions
        {
            Type = ElementType.Float,
            AnyRank = !trainable,
            Ranks = ranks,
            Prefix = model.AdapterPrefix,
            Targets = [.. file.Layers.Select(l => l.Module)]
        };
        var layers = file.Layers.ToDictionary(l => l.Module, StringComparer.Ordinal);
        var tensors = new List<(string Name, Tensor Data)>();
        foreach (var layer in Fitting())
        {
            if (!layers.TryGetValue(layer.Path, out var given))
                throw new UserError($"adapter '{file.Path}': names no layer '{layer.Path}', but one of its names is the end of that; "
                    + $"expected whole module paths");
            // Linear layers and 1x1 convolutions stand for each other.
            var (a, b) = (Fit(given.A, [given.Rank, layer.In, .. layer.Kernel]),
                Fit(given.B, layer.Kernel.Count > 0 ? [layer.Out, given.Rank, 1, 1] : [layer.Out, given.Rank]));
            if (a is null || b is null)
                throw new UserError($"adapter '{file.Path}': '{layer.Path}' of model '{model.Name}' takes {layer.In} and gives "
                    + $"{layer.Out}, got A {given.A} and B {given.B}; it belongs to another model");
            tensors.AddRange([(layer.A.Name, a), (layer.B.Name, b)]);
        }
        var adapters = new ParameterBuffer([.. tensors.Select(t => (t.Name, t.Data.Dims))]);
        var byName = tensors.ToDictionary(t => t.Name, t => t.Data, StringComparer.Ordinal);
        adapters.Load((name, _) => byName[name]);
        return new Policy(TextAdapters.Merged(model, file), lora, adapters) { Base = model, TextLayers = file.TextLayers };

        static Tensor? Fit(Tensor tensor, long[] dims) =>
            tensor.Dims.AsSpan().TrimEnd(1L).SequenceEqual(dims.AsSpan().TrimEnd(1L)) ? tensor.Reshaped(dims) : null;

        IReadOnlyList<LoraLayer> Fitting()
        {
            try
            {
                return file.Layers.Count == 0 ? [] : InjectLora.Apply(model.Denoiser("batch"), lora);
            }
            catch (UserError error)
            {
                throw new UserError($"adapter '{file.Path}' does not fit model '{model.Name}': {error.Message}", error);
            }
        }
    }

    /// <summary>The denoiser's graph with the adapters as parameters.</summary>
    /// <param name="batch">Rows; a number for training.</param>
    /// <param name="withReference">Whether the output without adapters is a second one, computed beside the first from the same
    /// weights.</param>
    /// <param name="guided">Whether batches are those of classifier-free guidance, their second halves the first ones' latents and times
    /// with another text.</param>
    public (OnnxGraph Graph, IReadOnlyList<LoraLayer> Layers) Denoiser(Dim batch, bool withReference = false, bool guided = false)
    {
        var graph = Model.Denoiser(batch);
        if (guided) ShareGuided.Apply(graph, "sample", "timestep");
        var reference = withReference ? new ForwardCopy(graph, graph.Outputs[0]) : null;
        IReadOnlyList<LoraLayer> layers = Lora.Targets.Count == 0 ? [] : InjectLora.Apply(graph, Lora);
        if (reference is not null) graph.Outputs.Add(reference.Add("reference"));
        return (graph, layers);
    }

    /// <summary>
    /// Runs something as the base model: the adapters are zero while it runs, and pipelines take the text encoders without theirs.
    /// </summary>
    public void AsBase(Action action)
    {
        using var kept = Adapters.Keep();
        Adapters.All.Clear();
        IsBase = true;
        try
        {
            action();
        }
        finally
        {
            IsBase = false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Adapters.Dispose();
}
