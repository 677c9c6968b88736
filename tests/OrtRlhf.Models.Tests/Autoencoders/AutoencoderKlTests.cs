using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Autoencoders;

public class AutoencoderKlTests
{
    [Fact]
    public void StableDiffusion1_MatchesReference() => Matches("sd1-tiny", "vae");

    [Fact]
    public void FormerAttentionNames_MatchReference() => Matches("sd1-tiny", "vae_legacy_names");

    [Fact, NeedsGolden("sd3-tiny/vae")]
    public void WithoutQuantConvolutions_MatchesReference() => Matches("sd3-tiny", "vae", scaled: true);

    [Theory]
    [InlineData("""{"down_block_types":["AttnDownEncoderBlock2D"]}""", "AttnDownEncoderBlock2D")]
    [InlineData("""{"latents_mean":[0.1]}""", "latents_mean")]
    [InlineData("""{"block_out_channels":[8,8]}""", "down_block_types has 1 entries, expected 2")]
    public void Parse_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => AutoencoderKlConfig.Parse(json)).Message);

    private static void Matches(string set, string name, bool scaled = false)
    {
        var golden = Golden.Tensors($"{set}/golden.safetensors");
        var folder = ComponentFolder.Open(Golden.At($"{set}/{name}"), "vae");
        folder.Expect("AutoencoderKL");
        var config = AutoencoderKlConfig.Parse(folder.Config);
        var weights = folder.Weights();
        var latent = golden["vae.latent"];
        if (scaled) latent = Tensor.Of([.. latent.ToFloats().Select(v => (float)((v / config.ScalingFactor) + config.ShiftFactor))],
            latent.Dims);
        Golden.Close(Ort.Run(AutoencoderKl.BuildDecoder(config, weights), ("latent_sample", latent))["sample"], golden["vae.decoded"]);
        Golden.Close(Ort.Run(AutoencoderKl.BuildEncoder(config, weights), ("sample", golden["vae.image"]))["latent_parameters"],
            Joined(golden["vae.mean"], golden["vae.logvar"]));

        var dims = latent.Dims;
        var frozen = AutoencoderKl.BuildDecoder(config, weights, dims[0], dims[2], dims[3]);
        Assert.All(frozen.Nodes.Where(n => n.Domain.Length == 0), n =>
            Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
        Golden.Close(Ort.Run(frozen, ("latent_sample", latent))["sample"], golden["vae.decoded"]);
    }

    // The sets have one image, so that joining channels is joining bytes.
    private static Tensor Joined(Tensor mean, Tensor logvar) =>
        new(mean.Type, [1, 2 * mean.Dims[1], mean.Dims[2], mean.Dims[3]], (byte[])[.. mean.Bytes(), .. logvar.Bytes()]);
}
