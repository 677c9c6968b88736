using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class CheckpointTests
{
    [Fact]
    public void Save_ThenLatest_GivesTheFiles_KeepsTheNewest()
    {
        using var folder = new TempFolder();
        for (var epoch = 0; epoch < 4; epoch++) Save(folder, epoch, $"state {epoch}");
        var latest = Checkpoint.Latest(folder.Path)!;
        Assert.Equal(3, latest.Epoch);
        Assert.Equal("state 3", File.ReadAllText(latest.PathOf("lora.bin")));
        Assert.Equal(["epoch-000002", "epoch-000003"], Directory.GetDirectories(folder.Path).Select(Path.GetFileName).Order());
        Assert.Contains("'other.bin'", Assert.Throws<UserError>(() => latest.PathOf("other.bin")).Message);
    }

    [Fact]
    public void Save_SameEpochAgain_ReplacesIt_AndDropsLaterOnes()
    {
        using var folder = new TempFolder();
        Save(folder, 5, "old");
        Save(folder, 6, "later");
        Save(folder, 5, "new");
        var latest = Checkpoint.Latest(folder.Path)!;
        Assert.Equal((5, "new"), (latest.Epoch, File.ReadAllText(latest.PathOf("lora.bin"))));
    }

    [Theory]
    [InlineData("truncated")]
    [InlineData("changed")]
    [InlineData("file missing")]
    [InlineData("manifest missing")]
    [InlineData("manifest broken")]
    [InlineData("never renamed")]
    [InlineData("renaming stopped")]
    public void Latest_PartialCheckpoint_IsIgnored(string fault)
    {
        using var folder = new TempFolder();
        Save(folder, 1, "good");
        var bad = Save(folder, 2, "bad state").Folder;
        var (state, manifest) = (Path.Combine(bad, "lora.bin"), Path.Combine(bad, "checkpoint.json"));
        if (fault == "truncated") File.WriteAllText(state, "bad");
        if (fault == "changed") File.WriteAllText(state, "bad stAte");
        if (fault == "file missing") File.Delete(state);
        if (fault == "manifest missing") File.Delete(manifest);
        if (fault == "manifest broken") File.WriteAllText(manifest, File.ReadAllText(manifest)[..20]);
        if (fault == "never renamed") Directory.Move(bad, folder.At("epoch-000002.partial"));
        if (fault == "renaming stopped") Directory.Move(bad, folder.At("epoch-000003.former"));
        Assert.Equal(1, Checkpoint.Latest(folder.Path)!.Epoch);
        Save(folder, 2, "again");
        Assert.Equal(2, Checkpoint.Latest(folder.Path)!.Epoch);
        Assert.Equal(["epoch-000001", "epoch-000002"], Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Save_FullDisk_ThrowsForUser_EarlierIsIntact()
    {
        using var folder = new TempFolder();
        Save(folder, 1, "good");
        var error = Assert.Throws<UserError>(() => Checkpoint.Save(folder.Path, 2,
        [
            new("lora.bin", stream => stream.Write("half"u8)),
            new("adam.bin", FillDisk),
        ]));
        Assert.Contains("epoch-000002: the disk is full", error.Message);
        Assert.Equal(["epoch-000001"], Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName));
        Assert.Equal("good", File.ReadAllText(Checkpoint.Latest(folder.Path)!.PathOf("lora.bin")));
    }

    [Fact]
    public void Save_OtherFault_EarlierIsIntact()
    {
        using var folder = new TempFolder();
        Save(folder, 1, "good");
        Assert.Throws<OperationCanceledException>(() =>
            Checkpoint.Save(folder.Path, 2, [new("lora.bin", _ => throw new OperationCanceledException())]));
        Assert.Equal(1, Checkpoint.Latest(folder.Path)!.Epoch);
        Assert.Single(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void Latest_NoFolder_IsNull() => Assert.Null(Checkpoint.Latest("no-such-folder"));

    [Fact]
    public void AtomicFile_FullDisk_ThrowsForUser_EarlierIsIntact()
    {
        using var folder = new TempFolder();
        var path = folder.At("sub", "summary.json");
        AtomicFile.Write(path, "first");
        Assert.Contains("the disk is full", Assert.Throws<UserError>(() => AtomicFile.Write(path, FillDisk)).Message);
        Assert.Equal("first", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(folder.At("sub")));
        AtomicFile.Write(path, "second");
        Assert.Equal("second", File.ReadAllText(path));
    }

    [Fact]
    public void AtomicFile_NoSuchPlace_ThrowsForUser()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("file"), "");
        Assert.Contains("file", Assert.Throws<UserError>(() => AtomicFile.Write(folder.At("file", "x.json"), "x")).Message);
    }

    // Linux has a device that is always full; elsewhere the same error is made by hand.
    internal static void FillDisk(Stream stream)
    {
        stream.Write(new byte[100]);
        if (!OperatingSystem.IsLinux()) throw new IOException("No space left on device", OperatingSystem.IsWindows()
            ? unchecked((int)0x80070070) : 28);
        using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
        full.Write(new byte[100]);
    }

    private static Checkpoint Save(TempFolder folder, int epoch, string state) =>
        Checkpoint.Save(folder.Path, epoch,
            [new("lora.bin", stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(state))), new("empty.bin", _ => { })]);
}
