using System.Text;
using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Tests;

/// <summary>Pictures that NumPy wrote.</summary>
internal static class NpyImage
{
    /// <summary>A NumPy file of uint8 [H,W,3].</summary>
    public static RgbImage Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var headerLength = BitConverter.ToUInt16(bytes, 8);
        var header = Encoding.ASCII.GetString(bytes, 10, headerLength);
        Assert.Contains("'descr': '|u1'", header);
        var shape = header.Split('(')[1].Split(')')[0].Split(',').Select(int.Parse).ToArray();
        return new RgbImage(shape[1], shape[0], bytes[(10 + headerLength)..]);
    }
}
