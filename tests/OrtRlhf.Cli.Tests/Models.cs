using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

/// <summary>One tiny random model for all tests that only read it.</summary>
public sealed class TinyModelFixture : IDisposable
{
    private readonly TempFolder folder = new();

    public TinyModelFixture() => Path = TinyModel.Write(folder.At("tiny"));

    public string Path { get; }

    public void Dispose() => folder.Dispose();
}
