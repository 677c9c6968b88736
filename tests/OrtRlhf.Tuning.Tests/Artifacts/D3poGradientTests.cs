using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Tests.Artifacts;

/// <summary>
/// D3PO's gradient of whole networks. With g the gradient of a step's log p, that of a pair is <c>-A beta sigmoid(-margin) (g_w - g_l)</c>,
/// without the g of a step whose ratio is
/// clipped. PyTorch's gradients of the two DDPO losses hold both g: with clip range 1e-4 only the first step counts, <c>G1 = -A0 r0
/// g0/2</c>; with 0.2 both,
/// <c>G2 = -(A0 r0 g0 + A1 r1 g1)/2</c>.
/// </summary>
public class D3poGradientTests
{
    private const string Sd2 = "sd2-tiny/unet/diffusion_pytorch_model.safetensors";
    private const float Advantage = 0.7f;

    [Theory]
    [InlineData(0.1, false)]
    [InlineData(0.1, true)]
    [InlineData(30, false)]
    public void StableDiffusion1_Gradients_MatchReference(double beta, bool turned) =>
        Matches("sd1-tiny", Golden.At("sd1-tiny"), beta, turned);

    [Theory, NeedsGolden(Sd2)]
    [InlineData(0.1, false)]
    [InlineData(30, true)]
    public void StableDiffusion2_VPrediction_Gradients_MatchReference(double beta, bool turned) =>
        Matches("sd2-tiny", Golden.At("sd2-tiny/unet"), beta, turned);

    // The same transitions, differentiated by PyTorch through the whole of D3PO's loss in double precision: tools/Peers/d3po.py.
    [Fact]
    public void StableDiffusion1_Autograd_Agrees()
    {
        var torch = Golden.Tensors("torch/d3po/sd1-tiny.safetensors");
        var golden = Golden.Tensors("sd1-tiny/lora_golden.safetensors");
        var options = Options(torch["beta"].ToFloats()[0], torch["clip_range"].ToFloats()[0]);
        var results = TrainingFileTests.Run(Golden.At("sd1-tiny"), options,
            [.. Fields("sd1-tiny", golden, turned: false), .. Adapter("sd1-tiny")]);
        foreach (var name in (string[])["loss", "margin", "log_prob"]) Numbers.Close(torch[name].ToFloats(),
            results[name].ToFloats(), 1e-4);
        Close(torch.Tensors.Where(t => t.Key.StartsWith("grad.", StringComparison.Ordinal)).ToDictionary(t => t.Key["grad.".Length..], t =>
            t.Value.ToFloats()), results, "autograd");
    }

    private static void Matches(string set, string model, double beta, bool turned)
    {
        var golden = Golden.Tensors($"{set}/lora_golden.safetensors");
        var fields = Fields(set, golden, turned);
        float[] logp = golden["ddpo.log_prob"].ToFloats(), old = golden["ddpo.old_log_prob"].ToFloats(),
            a = golden["ddpo.advantage"].ToFloats();
        var r = logp.Zip(old, (now, then) => Math.Exp((double)now - then)).ToArray();
        Assert.True(a[1] > 0 && r[1] > 1 + 1e-4 && Math.Abs(r[0] - 1) < 1e-4); // what the two losses are clipped by

        // The reference is the model without adapters: its log-probs are those of DDPO's file, which other tests hold to PyTorch, with B
        // zero.
        (string Name, Tensor Data)[] none = [.. Adapter(set).Select(t => (t.Name, Tensor.Of(new float[t.Data.Count], t.Data.Dims)))];
        var reference = TrainingFileTests.Run(model, new()
        {
            Method = TuningMethods.TrainingFile("ddpo"),
            BatchSize = 2,
            Lora = TrainingFileTests.Lora
        }, [.. TrainingFileTests.Fields(set, "ddpo", golden), .. none])["log_prob"].ToFloats();
        var away = logp.Zip(reference, (now, then) => (double)now - then).ToArray();
        var (near, far) = (away.Min(Math.Abs), away.Max(Math.Abs));

        // Both ratios within the range, then only the nearer one.
        foreach (var (clip, count) in new[] { (0.99, 2), (1 - Math.Exp(-(near + far) / 2), 1) })
        {
            var clipped = Array.ConvertAll(away, x => Math.Clamp(x, Math.Log(1 - clip), Math.Log(1 + clip)));
            var counts = away.Zip(clipped, (x, y) => x == y ? 1.0 : 0).ToArray();
            Assert.Equal(count, counts.Sum());
            var margin = beta * (clipped[0] - clipped[1]) * (turned ? -1 : 1);
            var c = -Advantage * beta / (1 + Math.Exp(margin)) * (turned ? -1 : 1);
            var expected = Adapter(set).ToDictionary(t => t.Name, t =>
            {
                var (one, both) = (golden[$"ddpo.clip1e-4.grad.{t.Name}"].ToFloats(), golden[$"ddpo.clip0.2.grad.{t.Name}"].ToFloats());
                return one.Zip(both, (g1, g2) =>
                {
                    var (g0, other) = (-2.0 * g1 / (a[0] * r[0]), -2.0 * ((double)g2 - g1) / (a[1] * r[1]));
                    return (float)(c * ((counts[0] * g0) - (counts[1] * other)));
                }).ToArray();
            });

            var results = TrainingFileTests.Run(model, Options(beta, clip), [.. fields, .. Adapter(set)]);
            Assert.Equal(margin, results["margin"].ToFloats()[0], 1e-4 * Math.Max(1, beta));
            Assert.Equal(Advantage * Math.Log(1 + Math.Exp(-margin)), results["loss"].ToFloats()[0], 1e-4 * Math.Max(1, beta));
            Assert.Equal(1 - (counts.Sum() / 2), results["clip_fraction"].ToFloats()[0]);
            Close(expected, results, $"clip range {clip:g2}");
        }
    }

    // Each tensor, and all of them as one. Log-probs are means of squares of thousands of numbers, known to 1e-5: times beta, that is the
    // factor's error.
    private static void Close(Dictionary<string, float[]> expected, Dictionary<string, Tensor> results, string what)
    {
        var errors = expected.Select(t => (Error: Numbers.Error(t.Value, results[t.Key + "_grad"].ToFloats()), t.Key)).Order().ToArray();
        Assert.True(errors[^1].Error < 5e-4,
            $"{what}: median error {errors[errors.Length / 2].Error:E1}, worst {errors[^1].Error:E1} of {errors[^1].Key}");
        Numbers.Close([.. expected.SelectMany(t => t.Value)],
            [.. expected.Keys.SelectMany(name => results[name + "_grad"].ToFloats())], 2e-4);
    }

    private static TrainingFileOptions Options(double beta, double clip) =>
        new() { Method = TuningMethods.TrainingFile("d3po"), BatchSize = 2, Lora = TrainingFileTests.Lora, Beta = beta, ClipRange = clip };

    private static (string Name, Tensor Data)[] Adapter(string set) =>
        [.. Golden.Tensors($"{set}/lora.safetensors").Tensors.Select(t => (t.Key, t.Value))];

    private static (string, Tensor)[] Fields(string set, SafetensorsFile golden, bool turned) =>
    [
        .. TrainingFileTests.Fields(set, "d3po", golden).Select(f =>
            (f.Item1, f.Item1 == "advantage" ? Tensor.Of([Advantage, Advantage], 2) : turned ? Turned(f.Item2) : f.Item2)),
    ];

    private static Tensor Turned(Tensor rows)
    {
        var bytes = rows.Bytes();
        return new(rows.Type, rows.Dims, [.. bytes[(bytes.Length / 2)..], .. bytes[..(bytes.Length / 2)]]);
    }
}
