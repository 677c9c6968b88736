using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Diffusion.Models;

/// <summary>
/// Graphs of flow transformers with the inputs and outputs that all denoisers here have (<see cref="ImageModel.Denoiser"/>), so that
/// samplers and losses need
/// not know them apart.
/// </summary>
internal static class TransformerBoundary
{
    /// <summary>Stable Diffusion 3's: other names alone.</summary>
    public static OnnxGraph SD3(OnnxGraph graph)
    {
        graph.Rename(graph["hidden_states"], "sample");
        graph.Rename(graph["out_hidden_states"], "out_sample");
        return graph;
    }

    /// <summary>
    /// FLUX': latents are packed, 2x2 cells to a token, its time is t in place of T*t, the places of cells (0, row, column) and tokens (0,
    /// 0, 0) are constants.
    /// </summary>
    /// <param name="graph">The graph, sizes of image and text fixed or open.</param>
    /// <param name="batch">Rows.</param>
    /// <param name="latent">Sizes of a latent.</param>
    /// <param name="tokens">Tokens of the text.</param>
    public static OnnxGraph Flux(OnnxGraph graph, Dim batch, LatentSize latent, int tokens)
    {
        const double Steps = 1000;
        var (c, h, w) = ((long)latent.Channels, (long)latent.Height / 2, (long)latent.Width / 2);
        var axes = graph["img_ids"].Shape![1] is { IsKnown: true, Size: var known } ? (int)known : 3;
        graph.MakeConstant(graph["img_ids"], Tensor.Of(Places(h, w, axes), h * w, axes));
        graph.MakeConstant(graph["txt_ids"], Tensor.Of(new float[tokens * axes], tokens, axes));

        var (packed, time, output) = (graph["hidden_states"], graph["timestep"], graph["out_hidden_states"]);
        var timeShape = time.Shape!.Dims.ToArray();
        Remove(packed);
        Remove(time);
        graph.Rename(time, "t of the flow");
        var sample = graph.Input("sample", ElementType.Float, batch, c, latent.Height, latent.Width);
        var steps = graph.Input("timestep", ElementType.Float, timeShape);
        graph.Redirect(packed, sample.Reshape(0, c, h, 2, w, 2).Transpose(0, 2, 4, 1, 3, 5).Reshape(0, h * w, 4 * c));
        graph.Redirect(time, steps / Steps);
        graph.Outputs.Clear();
        var cells = output.Reshape(0, h, w, c, 2, 2).Transpose(0, 3, 1, 4, 2, 5).Reshape(0, c, 2 * h, 2 * w);
        cells.Shape = sample.Shape;
        graph.Output(cells, "out_sample");
        graph.Sort();
        return graph;

        void Remove(Value input) => graph.Inputs.Remove(input);
    }

    private static float[] Places(long rows, long columns, int axes)
    {
        var places = new float[rows * columns * axes];
        for (var i = 0; i < rows * columns; i++) (places[(i * axes) + 1], places[(i * axes) + 2]) = (i / columns, i % columns);
        return places;
    }
}
