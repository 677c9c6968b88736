using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Methods;

/// <summary>The table of methods, and options.json of this version and of 0.1.</summary>
public class TuningMethodsTests
{
    public static TheoryData<string> Names => [.. TuningMethods.All.Select(method => method.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Options_AtTheirDefaults_AreValid_AndComeBack(string name)
    {
        using var folder = new TempFolder();
        var options = TuningMethods.Find(name)!.New();
        Assert.Empty(options.Faults());
        JsonFile.Write<object>(folder.At("options.json"), options);
        var read = TuningMethods.ReadOptions(folder.At("options.json"));
        Assert.Equal(options.GetType(), read.GetType());
        JsonFile.Write<object>(folder.At("again.json"), read);
        Assert.Equal(File.ReadAllText(folder.At("options.json")), File.ReadAllText(folder.At("again.json")));
    }

    [Theory]
    [InlineData("ddpo", "clipRange", "population")]
    [InlineData("es", "population", "clipRange")]
    [InlineData("dpo", "beta", "klWeight")]
    [InlineData("rwr", "temperature", "rater")]
    public void OptionsFile_HoldsWhatApplies(string name, string held, string not)
    {
        using var folder = new TempFolder();
        JsonFile.Write<object>(folder.At("options.json"), TuningMethods.Find(name)!.Options);
        var json = JsonFile.Read<JsonObject>(folder.At("options.json"));
        Assert.True(json.ContainsKey(held));
        Assert.False(json.ContainsKey(not));
    }

    [Fact]
    public void OptionsFile_Of01_HadThoseOfAllMethods_AndResumes()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "whole") with { Epochs = 3 };
        TuningRun.Execute(options, TinyRun.Environment);
        TuningRun.Execute(options with { Output = folder.At("half"), Epochs = 2 }, TinyRun.Environment);
        var path = new RunFolder(folder.At("half")).Options;
        var json = JsonFile.Read<JsonObject>(path);
        foreach (var (name, value) in new (string, JsonNode)[] { ("nftBeta", 1), ("population", 16), ("sigma", 0.03), ("beta", 0.1), ("temperature", 0.5) })
            json[name] = value;
        json["rater"] = "bestWorst";
        JsonFile.Write(path, json);
        TuningRun.Resume(folder.At("half"), TinyRun.Environment, epochs: 3);
        Assert.Equal(TinyRun.Result(options.Output).Metrics, TinyRun.Result(folder.At("half")).Metrics);
        Assert.Equal(TinyRun.Result(options.Output).Adapter, TinyRun.Result(folder.At("half")).Adapter);
    }

    [Fact]
    public void OptionsFile_Of01_NftBeta_IsBeta()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("options.json"), """{"method":"nft","nftBeta":0.25,"beta":2000,"loraRank":3}""");
        var options = Assert.IsType<NftOptions>(TuningMethods.ReadOptions(folder.At("options.json")));
        Assert.Equal((0.25, 3), (options.Beta, options.LoraRank));
        File.WriteAllText(folder.At("options.json"), """{"method":"flowGrpo","nftBeta":0.25}""");
        Assert.IsType<FlowGrpoOptions>(TuningMethods.ReadOptions(folder.At("options.json")));
    }

    [Fact]
    public void OptionsFile_OfNoMethod_ThrowsForUser()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("options.json"), """{"method":"ppo"}""");
        var error = Assert.Throws<UserError>(() => TuningMethods.ReadOptions(folder.At("options.json")));
        Assert.Contains("expected ddpo, reinforce, flow-grpo, nft, es", error.Message);
        File.WriteAllText(folder.At("options.json"), """{"method":"ddpo","epochs":"many"}""");
        Assert.Contains("not the JSON expected", Assert.Throws<UserError>(() => TuningMethods.ReadOptions(folder.At("options.json"))).Message);
    }
}
