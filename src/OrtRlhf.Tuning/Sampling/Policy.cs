using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// A model with low-rank adapters on its denoiser. The adapters' tensors lie in one buffer that sampler, trainer and optimizer share:
/// what the optimizer writes is what the next run reads.
/// </summary>
public sealed class Policy : IDisposable
{
    private Policy(ImageModel model, LoraOptions lora, ParameterBuffer adapters) => (Model, Lora, Adapters) = (model, lora, adapters);

    /// <summary>The model.</summary>
    public ImageModel Model { get; }

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

    /// <summary>A policy with the adapters of a file, of any ranks; they are multiplied by its scale.</summary>
    /// <param name="model">The model.</param>
    /// <param name="file">The adapters.</param>
    /// <param name="scale">alpha/rank where the file does not tell it.</param>
    /// <exception cref="UserError">A tensor of the file is not of a layer of this model, or of another size.</exception>
    public static Policy WithAdapter(ImageModel model, AdapterFile file, double scale = 1)
    {
        const string a = ".lora_A.weight", b = ".lora_B.weight";
        var lora = new LoraOptions { AnyRank = true };
        string[] paths = [.. file.Tensors.Keys.Where(name => name.EndsWith(a, StringComparison.Ordinal)).Select(name => name[..^a.Length])];
        if (paths.Length == 0 || file.Tensors.Count != 2 * paths.Length || !paths.All(path => path.StartsWith(lora.Prefix, StringComparison.Ordinal)))
            throw new UserError($"adapter '{file.Path}': expected tensors named {lora.Prefix}MODULE{a} and {b}, got '{file.Tensors.Keys.FirstOrDefault(n => !n.StartsWith(lora.Prefix, StringComparison.Ordinal)) ?? "others"}'");
        lora = lora with { Targets = [.. paths.Select(path => path[lora.Prefix.Length..])] };
        foreach (var layer in Fitting())
        {
            var (down, up) = (file.Tensors[layer.A.Name], file.Tensors[layer.B.Name]);
            if (down.Dims[1] != layer.In || up.Dims[0] != layer.Out)
                throw new UserError($"adapter '{file.Path}': '{layer.Path}' of model '{model.Name}' takes {layer.In} and gives {layer.Out}, got A {down} and B {up}; it belongs to another model");
        }
        var adapters = new ParameterBuffer([.. file.Tensors.Select(t => (t.Key, t.Value.Dims))]);
        adapters.Load((name, _) => file.Tensors[name]);
        var factor = (float)(file.Scale ?? scale);
        foreach (var name in file.Tensors.Keys.Where(name => factor != 1 && name.EndsWith(b, StringComparison.Ordinal)))
            foreach (ref var value in adapters[name]) value *= factor;
        return new Policy(model, lora, adapters);

        IReadOnlyList<LoraLayer> Fitting()
        {
            try
            {
                return InjectLora.Apply(model.Denoiser("batch"), lora);
            }
            catch (UserError error)
            {
                throw new UserError($"adapter '{file.Path}' does not fit model '{model.Name}': {error.Message}", error);
            }
        }
    }

    /// <summary>The denoiser's graph with the adapters as parameters.</summary>
    /// <param name="batch">Rows; a number for training.</param>
    public (OnnxGraph Graph, IReadOnlyList<LoraLayer> Layers) Denoiser(Dim batch)
    {
        var graph = Model.Denoiser(batch);
        return (graph, Lora.Targets.Count == 0 ? [] : InjectLora.Apply(graph, Lora));
    }

    /// <summary>Runs something as the base model: the adapters are zero while it runs.</summary>
    public void AsBase(Action action)
    {
        var kept = Adapters.All.ToArray();
        Adapters.All.Clear();
        try
        {
            action();
        }
        finally
        {
            kept.CopyTo(Adapters.All);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Adapters.Dispose();
}
