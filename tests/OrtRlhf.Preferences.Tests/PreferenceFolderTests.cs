using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class PreferenceFolderTests
{
    [Fact]
    public void Write_Sample_ReadsBackItsImageAndTrajectory()
    {
        using var folder = new TempFolder();
        using var policy = Policy.OfBase(ImageModel.Open(TinyModel.Write(folder.At("tiny"))));
        using var pipeline = new Pipeline(policy, new() { Steps = 3, GuidanceScale = 2.5 }, new() { Threads = 1 });
        var sample = pipeline.Sample([new("a cat", ulong.MaxValue, 3, 4)])[0];
        using var store = PreferenceStore.Open(folder.At("store"), create: true);

        var candidate = store.Folder.Write(sample, pipeline, "tiny");
        store.Add([candidate]);

        Assert.Equal("tiny", Assert.Single(store.Candidates()).Source);
        Assert.True(sample.Image.SameAs(store.Folder.Image(candidate)));
        var stored = store.Folder.Trajectory(store.Candidates()[0])!;
        Assert.Equal(sample.Trajectory.Request, stored.Trajectory.Request);
        Assert.Equal(sample.Trajectory.Latents, stored.Trajectory.Latents);
        Assert.Equal(sample.Trajectory.LogProbs, stored.Trajectory.LogProbs);
        Assert.Equal(pipeline.Table.Steps.Select(step => (long)step.Timestep), stored.Timesteps);
        Assert.Equal([4, 8, 8], stored.Dims);
        Assert.Equal((pipeline.SamplerName, 2.5), (stored.Sampler, stored.GuidanceScale));

        File.Delete(store.Folder.At(candidate.Trajectory!));
        Assert.Contains("there is no such file", Assert.Throws<UserError>(() => store.Folder.Trajectory(candidate)).Message);
    }
}
