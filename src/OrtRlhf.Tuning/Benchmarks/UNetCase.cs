using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>A U-Net with its adapter and inputs, and what they should give.</summary>
/// <param name="Config">Configuration.</param>
/// <param name="Weights">Weights.</param>
/// <param name="Adapter">Tensors of the adapter by name and shape.</param>
/// <param name="Inputs"><c>sample</c> and <c>target</c> [B,C,H,W], <c>encoder_hidden_states</c> [B,T,D].</param>
/// <param name="Timestep">Of all samples.</param>
/// <param name="Expected"><c>out_sample</c>, <c>loss</c> and <c>grad.NAME</c>; null when nobody computed them.</param>
internal sealed record UNetCase(
    UNet2DConditionConfig Config, Weights Weights, Func<string, long[], Tensor> Adapter, IReadOnlyDictionary<string, Tensor> Inputs,
        long Timestep, SafetensorsFile? Expected)
{
    private static readonly string[] InputNames = ["sample", "target", "encoder_hidden_states"];

    /// <summary>Reads a folder of tools/Peers/bench_unet.py.</summary>
    public static UNetCase Open(string folder)
    {
        var component = ComponentFolder.Open(folder, "unet");
        component.Expect("UNet2DConditionModel");
        var adapter = SafetensorsFile.Open(Path.Combine(folder, "lora.safetensors"));
        var expected = SafetensorsFile.Open(Path.Combine(folder, "bench.safetensors"));
        return new UNetCase(
            UNet2DConditionConfig.Parse(component.Config), component.Weights(), (name, _) => adapter[name],
            InputNames.ToDictionary(n => n, n => expected[n]), expected["timestep"].ToInt64s()[0], expected);
    }

    /// <summary>The same sizes with numbers drawn at random.</summary>
    public static UNetCase Random()
    {
        var config = UNet2DConditionConfig.Parse("""
            {"sample_size":32,"block_out_channels":[64,128,320],"layers_per_block":2,"cross_attention_dim":256,"attention_head_dim":[2,2,5],"norm_num_groups":32,
             "down_block_types":["CrossAttnDownBlock2D","CrossAttnDownBlock2D","CrossAttnDownBlock2D"],"up_block_types":["CrossAttnUpBlock2D","CrossAttnUpBlock2D","CrossAttnUpBlock2D"]}
            """);
        var random = new RandomWeights(35);
        return new UNetCase(config, new Weights(random.Weight), random.Weight, new Dictionary<string, Tensor>
        {
            ["sample"] = random.Draw(0, 1, 2, 4, 32, 32),
            ["target"] = random.Draw(0, 1, 2, 4, 32, 32),
            ["encoder_hidden_states"] = random.Draw(0, 1, 2, 77, 256),
        }, 481, null);
    }
}
