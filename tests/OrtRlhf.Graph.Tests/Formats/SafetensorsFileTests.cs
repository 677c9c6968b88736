using System.Text;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Graph.Tests.Formats;

public sealed class SafetensorsFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("safetensors-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string At(string name) => Path.Combine(_folder, name);

    [Fact]
    public void Write_ReadAgain_IsTheSame()
    {
        var tensors = new Dictionary<string, Tensor>
        {
            ["float"] = Numbers.Normal(1, 3, 5),
            ["half"] = Numbers.Normal(2, 7).As(ElementType.Float16),
            ["long"] = Tensor.Vector(1, -2),
            ["scalar"] = Tensor.Scalar(3f),
            ["empty"] = Tensor.Of(Array.Empty<float>(), 0, 4),
            ["bool"] = Tensor.Of([true, false], 2),
            ["name \"quoted\" \u00e9"] = Tensor.Scalar(1L),
        };
        SafetensorsFile.Write(At("a.safetensors"), tensors, new Dictionary<string, string> { ["format"] = "pt" });
        var read = SafetensorsFile.Open(At("a.safetensors"));
        Assert.Equal("pt", read.Metadata["format"]);
        Assert.Equal(tensors.Keys.Order(), read.Tensors.Keys.Order());
        foreach (var (name, tensor) in tensors)
        {
            Assert.Equal((tensor.Type, string.Join(",", tensor.Dims)), (read[name].Type, string.Join(",", read[name].Dims)));
            Assert.Equal(tensor.Bytes(), read[name].Bytes());
            Assert.False(read[name].IsInMemory);
        }
        Assert.Equal(["a.safetensors"], Directory.GetFiles(_folder).Select(Path.GetFileName));
        Assert.Contains("no tensor 'other' among 7", Assert.Throws<UserError>(() => read["other"]).Message);
    }

    [Fact]
    public void Open_FileOfPyTorch_MatchesItsHeader()
    {
        var read = SafetensorsFile.Open(Golden.At("torch", "unet-small-opset14", "lora.safetensors"));
        var expected = Golden.Tensors("torch", "unet-small-opset14", "lora.safetensors");
        Assert.Contains("lora_alpha", read.Metadata["lora_adapter_metadata"]);
        Assert.Equal(expected.Keys.Order(), read.Tensors.Keys.Order());
        Assert.All(expected, e => Assert.Equal(e.Value.Bytes(), read[e.Key].Bytes()));
    }

    [Fact]
    public void Write_OverTheFileItReadsFrom_KeepsTheNumbers()
    {
        SafetensorsFile.Write(At("a.safetensors"), [new("x", Tensor.Of([1f, 2f], 2)), new("y", Tensor.Of([3f], 1))]);
        File.SetLastWriteTimeUtc(At("a.safetensors"), DateTime.UnixEpoch);
        var read = SafetensorsFile.Open(At("a.safetensors"));
        SafetensorsFile.Write(At("a.safetensors"), [new("y", read["y"]), new("x", read["x"])]);
        var again = SafetensorsFile.Open(At("a.safetensors"));
        Assert.Equal([1f, 2f], again["x"].ToFloats());
        Assert.Equal([3f], again["y"].ToFloats());
        Assert.Contains("has changed", Assert.Throws<UserError>(() => read["y"].ToFloats()).Message);
    }

    [Fact]
    public void Open_AndRead_LeaveNoFileOpen()
    {
        var (path, moved) = (At("a.safetensors"), At("b.safetensors"));
        SafetensorsFile.Write(path, [new("x", Tensor.Of([1f, 2f], 2))]);
        var read = SafetensorsFile.Open(path);
        Assert.Equal([1f, 2f], read["x"].ToFloats());
        if (OperatingSystem.IsLinux()) Assert.DoesNotContain(path,
            new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos().Select(fd => fd.LinkTarget));
        using (new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None)) { }
        File.Move(path, moved);
        Assert.Contains("cannot be read any more", Assert.Throws<UserError>(() => read["x"].ToFloats()).Message);
        File.Delete(moved);
        File.WriteAllBytes(path, new byte[4]);
        Assert.Contains("truncated", Assert.Throws<UserError>(() => SafetensorsFile.Open(path)).Message);
        using (new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None)) { }
    }

    [Fact]
    public void Open_Shards_JoinsThem()
    {
        SafetensorsFile.Write(At("m-00001-of-00002.safetensors"), [new("x", Tensor.Of([1f], 1))]);
        SafetensorsFile.Write(At("m-00002-of-00002.safetensors"), [new("y", Tensor.Of([2f], 1))]);
        Assert.Equal([2f], Index("""{"weight_map":{"x":"m-00001-of-00002.safetensors","y":"m-00002-of-00002.safetensors"}}""")["y"]
            .ToFloats());
    }

    [Theory]
    [InlineData("""{"weight_map":{"x":"../x.safetensors"}}""", "a file in the same folder")]
    [InlineData("""{"weight_map":{"x":"/etc/passwd"}}""", "a file in the same folder")]
    [InlineData("""{"weight_map":{"x":"link.safetensors"}}""", "a link out of its folder")]
    [InlineData("""{"weight_map":{"x":"none.safetensors"}}""", "no such file")]
    [InlineData("""{"weight_map":{"other":"m.safetensors"}}""", "is not in 'm.safetensors' as it says")]
    [InlineData("""{"weight_map":{"x":7}}""", "one file name")]
    [InlineData("""{"weight_map":[]}""", "an object with weight_map")]
    [InlineData("[[[[[[[[[[[[", "not valid JSON")]
    public void Open_HostileIndex_ThrowsOneLine(string index, string expected)
    {
        SafetensorsFile.Write(At("m.safetensors"), [new("x", Tensor.Of([1f], 1))]);
        var outside = Directory.CreateTempSubdirectory("outside-").FullName;
        try
        {
            SafetensorsFile.Write(Path.Combine(outside, "x.safetensors"), [new("x", Tensor.Of([1f], 1))]);
            File.CreateSymbolicLink(At("link.safetensors"), Path.Combine(outside, "x.safetensors"));
            var error = Assert.Throws<UserError>(() => Index(index));
            Assert.Contains(expected, error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }
        finally
        {
            Directory.Delete(outside, recursive: true);
        }
    }

    [Theory]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""",
        "overlap")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""",
        "two tensors are named 'x'")]
    [InlineData("""{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "expected 12 bytes for shape [3]")]
    [InlineData("""{"x":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}""", "got F99")]
    [InlineData("""{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", "not negative")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", "whole numbers")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", "a place within")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}""", "truncated")]
    [InlineData("""{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}""", "shape [4611686018427387904,4]")]
    [InlineData("""{"x":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}""", "sizes of a tensor that can be")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}""", "at most 16")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2]}}""", "expected dtype, shape and two data_offsets")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""", "not valid JSON")]
    [InlineData("""{"__metadata__":{"a":1}}""", "expected String")]
    [InlineData("""[1,2]""", "expected StartObject")]
    [InlineData("""{"x":{"a":[[[[[[[[[[[[1]]]]]]]]]]]]}}""", "not valid JSON")]
    public void Open_HostileHeader_ThrowsOneLine(string header, string expected)
    {
        WriteRaw(header.Length, Encoding.UTF8.GetBytes(header), 16);
        var error = Assert.Throws<UserError>(() => SafetensorsFile.Open(At("raw.safetensors")));
        Assert.Contains(expected, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(-1)]
    [InlineData(1L << 60)]
    [InlineData(33L << 20)]
    [InlineData(1000)]
    [InlineData(0)]
    public void Open_HeaderOfImpossibleLength_ThrowsOneLine(long length)
    {
        WriteRaw(length, "{}"u8.ToArray(), 16);
        Assert.Contains("expected a header of 2 to", Assert.Throws<UserError>(() => SafetensorsFile.Open(At("raw.safetensors"))).Message);
    }

    [Fact]
    public void Open_EveryTruncation_ThrowsOneLine()
    {
        SafetensorsFile.Write(At("a.safetensors"), [new("x", Numbers.Normal(1, 4)), new("y", Numbers.Normal(2, 3))]);
        var bytes = File.ReadAllBytes(At("a.safetensors"));
        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(At("cut.safetensors"), bytes[..length]);
            Assert.DoesNotContain('\n', Assert.Throws<UserError>(() => SafetensorsFile.Open(At("cut.safetensors"))).Message);
        }
    }

    [Fact]
    public void Open_MissingFileOrFolder_ThrowsUserError()
    {
        Assert.Contains("no such file", Assert.Throws<UserError>(() => SafetensorsFile.Open(At("none.safetensors"))).Message);
        Assert.Throws<UserError>(() => SafetensorsFile.Open(_folder));
        Assert.Throws<UserError>(() => SafetensorsFile.Write(At("none/a.safetensors"), []));
    }

    private SafetensorsFile Index(string json)
    {
        File.WriteAllText(At("m.safetensors.index.json"), json);
        return SafetensorsFile.Open(At("m.safetensors.index.json"));
    }

    private void WriteRaw(long length, byte[] header, int data) =>
        File.WriteAllBytes(At("raw.safetensors"), [.. BitConverter.GetBytes(length), .. header, .. new byte[data]]);
}
