namespace OrtRlhf.Tests;

/// <summary>Tests of chance and load have a long form, which <c>dotnet cake --target=Soak</c> runs; they carry the trait <c>Soak</c>.</summary>
internal static class Soak
{
    /// <summary>The trait's name.</summary>
    public const string Trait = "Soak";

    /// <summary>How often, or how long.</summary>
    /// <param name="ordinary">In <c>dotnet test</c>.</param>
    /// <param name="soak">In the long form.</param>
    public static int Times(int ordinary, int soak) => Environment.GetEnvironmentVariable("ORTRLHF_SOAK") == "1" ? soak : ordinary;
}
