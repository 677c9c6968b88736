// dotnet tool restore && dotnet cake --target=Build|Test|Soak|Bench|Models|Pack

var target = Argument("target", "Build");
var configuration = Argument("configuration", "Release");
var output = MakeAbsolute(Directory(Argument("output", "artifacts")));

DotNetRunSettings Release() => new() { Configuration = configuration };

Task("Build")
    .Description("Everything, warnings as errors.")
    .Does(() => DotNetBuild("OrtRlhf.sln", new DotNetBuildSettings { Configuration = configuration }));

Task("Test")
    .Description("All tests, or those of --filter=...; results as trx files in artifacts/test-results.")
    .IsDependentOn("Build")
    .Does(() => DotNetTest("OrtRlhf.sln", new DotNetTestSettings
    {
        Configuration = configuration,
        NoBuild = true,
        Filter = Argument("filter", ""),
        Loggers = ["trx"],
        ResultsDirectory = output.Combine("test-results"),
    }));

Task("Soak")
    .Description("The long forms of tests of chance and load, a quarter of an hour; counts in docs/soak.md.")
    .IsDependentOn("Build")
    .Does(() => DotNetTest("OrtRlhf.sln", new DotNetTestSettings
    {
        Configuration = configuration,
        NoBuild = true,
        Filter = "Soak=kills|Soak=load|Soak=damage",
        Loggers = ["console;verbosity=normal"],
        EnvironmentVariables = new Dictionary<string, string> { ["ORTRLHF_SOAK"] = "1" },
    }));

Task("Bench")
    .Description("Time and memory of this machine. Side by side with PyTorch: tools/Peers/compare.sh.")
    .Does(() => DotNetRun("src/OrtRlhf.Cli", "bench", Release()));

Task("Models")
    .Description("Pre-trains the shipped models anew; takes hours. --arguments=... are the tool's.")
    .Does(() => DotNetRun("tools/Pretrain", Argument("arguments", ""), Release()));

Task("Pack")
    .Description("The command ortrlhf with all it needs in artifacts/ortrlhf.")
    .Does(() => DotNetPublish("src/OrtRlhf.Cli", new DotNetPublishSettings { Configuration = configuration, OutputDirectory = output.Combine("ortrlhf") }));

RunTarget(target);
