using System.Runtime.InteropServices;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// One call of a libvips operation: arguments in, build, output out. A failure is a <see cref="UserError"/> that begins
/// with <c>where</c> (a file or a purpose); libvips gives no message at all for some broken files, so there is one of ours.
/// </summary>
internal sealed class VipsOperation : IDisposable
{
    private readonly VipsObject operation;
    private readonly string where;

    private VipsOperation(string name, string where, ReadOnlySpan<(string Name, string Value)> options)
    {
        this.where = where;
        operation = Vips.NewOperation(name);
        if (operation.IsInvalid) throw Failure(where, $"no operation '{name}'");
        foreach (var (option, value) in options)
        {
            if (Vips.SetArgument(operation, option, value) == 0) continue;
            Dispose();
            throw Failure(where, $"operation '{name}' refuses {option}={value}");
        }
    }

    public void Dispose() => operation.Dispose();

    /// <summary>image -> image.</summary>
    public static VipsObject Apply(string name, VipsObject image, string where, params ReadOnlySpan<(string Name, string Value)> options)
    {
        using var call = new VipsOperation(name, where, options);
        call.SetImage(image);
        call.Build("cannot convert the image");
        return call.TakeImage();
    }

    /// <summary>image -> the bytes of a file.</summary>
    public static byte[] Save(string name, VipsObject image, string where, params ReadOnlySpan<(string Name, string Value)> options)
    {
        using var call = new VipsOperation(name, where, options);
        call.SetImage(image);
        call.Build("cannot encode the image");
        return call.TakeBytes();
    }

    /// <summary>The bytes of a file -> image, decoded as it is read.</summary>
    public static VipsObject Load(string name, ReadOnlySpan<byte> file, string where, params ReadOnlySpan<(string Name, string Value)> options)
    {
        using var call = new VipsOperation(name, where, options);
        call.SetBytes(file);
        call.Build("the image is truncated or damaged");
        return call.TakeImage();
    }

    public static UserError Failure(string where, string what)
    {
        var detail = Vips.TakeError();
        return new UserError(detail.Length == 0 ? $"{where}: {what}." : $"{where}: {what} (libvips: {detail}).");
    }

    private void Build(string failure)
    {
        if (Vips.Build(operation) == 0) return;
        Vips.UnrefOutputs(operation);
        throw Failure(where, failure);
    }

    private void SetImage(VipsObject image)
    {
        var value = default(Vips.GValue);
        Vips.InitValue(ref value, Vips.ImageType());
        Vips.SetObject(ref value, image);
        Vips.SetProperty(operation, "in", value);
        Vips.UnsetValue(ref value);
    }

    private void SetBytes(ReadOnlySpan<byte> file)
    {
        var value = default(Vips.GValue);
        var blob = Vips.CopyBlob(file, (nuint)file.Length);
        Vips.InitValue(ref value, Vips.BlobType());
        Vips.SetBoxed(ref value, blob);
        Vips.SetProperty(operation, "buffer", value);
        Vips.UnsetValue(ref value);
        Vips.UnrefBlob(blob);
    }

    private VipsObject TakeImage()
    {
        var value = default(Vips.GValue);
        Vips.InitValue(ref value, Vips.ImageType());
        Vips.GetProperty(operation, "out", ref value);
        var image = Vips.DupObject(value);
        Vips.UnsetValue(ref value);
        Vips.UnrefOutputs(operation);
        return image;
    }

    private byte[] TakeBytes()
    {
        var value = default(Vips.GValue);
        Vips.InitValue(ref value, Vips.BlobType());
        Vips.GetProperty(operation, "buffer", ref value);
        var data = Vips.GetBlob(Vips.GetBoxed(value), out var size);
        var bytes = new byte[checked((int)size)];
        Marshal.Copy(data, bytes, 0, bytes.Length);
        Vips.UnsetValue(ref value);
        Vips.UnrefOutputs(operation);
        return bytes;
    }
}
