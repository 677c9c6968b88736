using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Rewards;
using OrtRlhf.Scenes;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Prompts;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Epochs;

public sealed class EvaluationTests
{
    [Theory]
    [InlineData(8, 10, 4)]
    [InlineData(7, 10, 4)]
    [InlineData(8, 3, 3)]
    [InlineData(2, 1, 1)]
    public void Requests_PromptsComeTwiceWhereTheyCan_SeedsNever(int count, int prompts, int different)
    {
        var requests = Evaluation.Requests([.. Enumerable.Range(0, prompts).Select(i => $"p{i}")], count, 100);
        Assert.Equal(count, requests.Length);
        Assert.Equal(different, requests.Select(r => r.Prompt).Distinct().Count());
        Assert.Equal(count, requests.Select(r => r.Seed).Distinct().Count());
        // Training begins with epoch 1, so that no evaluated noise is ever trained on.
        Assert.All(requests, request => Assert.Equal(0u, request.Epoch));
    }

    [Fact]
    public void Run_ByBatches_ScoresEveryImageOnce()
    {
        using var policy = Policy.Create(ImageModel.Open(TinyRun.Model), new(), 3);
        var reward = TinyRun.Environment.Rewards.Parse("brightness-darkness", ["a cat"]);
        var requests = Evaluation.Requests(["a cat", "a dog"], 7, 1);
        EvaluationResult Run(int batch)
        {
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 3, BatchSize = batch }, new() { Threads = 1 });
            return Evaluation.Run(pipeline, reward, requests, pipeline);
        }

        var (small, large) = (Run(3), Run(16));
        Assert.Equal(7, small.Total.Length);
        Assert.Equal(0, small.Kl!.Value, 9);
        Assert.Equal(requests.Select(r => (r.Prompt, r.Seed)), small.Images.Select(i => (i.Prompt, i.Seed)));
        for (var i = 0; i < 7; i++)
        {
            Assert.Equal(large.Total[i], small.Total[i], 0.01f);
            Assert.Equal(small.Rewards["brightness"][i] - small.Rewards["darkness"][i], small.Total[i], 1e-6f);
        }
        Assert.True(small.Total.Distinct().Count() > 5);
    }

    [Fact]
    public void PromptPool_Scenes_DrawsKindsInTurn_HoldsOutOthers()
    {
        var kinds = new[] { SceneKind.SingleObject, SceneKind.Counting };
        var pool = PromptPool.Scenes(kinds);
        Assert.Empty(pool.HeldOut.Intersect(pool.Training.SelectMany(list => list)));
        for (uint i = 0; i < 20; i++) Assert.Equal(kinds[i % 2], SceneCaption.Parse(pool.Draw(7, 3, i))!.Kind);
        Assert.Equal([SceneKind.SingleObject, SceneKind.Counting], pool.HeldOut.Take(2).Select(prompt => SceneCaption.Parse(prompt)!.Kind));
        Assert.Equal(pool.HeldOut.Count, kinds.Sum(kind => ScenePrompts.HeldOut(kind).Count));
        Assert.NotEqual(Enumerable.Range(0, 9).Select(i => pool.Draw(7, 3, (uint)i)),
            Enumerable.Range(0, 9).Select(i => pool.Draw(7, 4, (uint)i)));
    }

    [Fact]
    public void PromptPool_ThroughAFile_DrawsTheSame()
    {
        using var folder = new TempFolder();
        var pool = PromptPool.Scenes([SceneKind.TwoObjects, SceneKind.SingleObject]);
        JsonFile.Write(folder.At("prompts.json"), pool);
        var read = JsonFile.Read<PromptPool>(folder.At("prompts.json"));
        Assert.Equal(pool.HeldOut, read.HeldOut);
        for (uint i = 0; i < 50; i++) Assert.Equal(pool.Draw(1, 2, i), read.Draw(1, 2, i));
    }

    [Fact]
    public void Watched_ThatDoesNotFit_ThrowsForUser() =>
        Assert.Contains("'prompt-alignment': cannot score images of the prompt \"a cat\"",
            Assert.Throws<OrtRlhf.Graph.UserError>(() =>
                RewardRegistry.Default.Parse("jpeg-compressibility", ["a cat"], ["prompt-alignment"])).Message);
}
