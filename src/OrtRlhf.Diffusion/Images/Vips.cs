using System.Runtime.InteropServices;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// The few non-variadic C functions of libvips 8.18 and GLib that image files need. libvips is initialised once, without
/// an operation cache and with one thread an operation: parallel work is spread over images, not inside one.
/// </summary>
internal static partial class Vips
{
    private const string Library = "libvips.so.42";

    static Vips()
    {
        if (Initialise("ortrlhf") != 0) throw new UserError($"libvips: cannot start: {TakeError()}. Run `ortrlhf doctor`.");
        SetConcurrency(1);
        SetCacheMax(0);
    }

    /// <summary>A GObject value, 24 bytes on 64-bit machines: the type and two words of data.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct GValue
    {
        public nuint Type;
        public ulong Data0;
        public ulong Data1;
    }

    public static Version Version => new(VersionPart(0), VersionPart(1), VersionPart(2));

    /// <summary>Reads and clears the error text, which libvips keeps once for all threads.</summary>
    public static string TakeError()
    {
        var text = CopyErrorBuffer();
        try
        {
            return string.Join("; ", (Marshal.PtrToStringUTF8(text) ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        }
        finally
        {
            Free(text);
        }
    }

    [LibraryImport(Library, EntryPoint = "vips_init", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Initialise(string name);

    [LibraryImport(Library, EntryPoint = "vips_version")]
    private static partial int VersionPart(int part);

    [LibraryImport(Library, EntryPoint = "vips_error_buffer_copy")]
    private static partial nint CopyErrorBuffer();

    [LibraryImport(Library, EntryPoint = "vips_concurrency_set")]
    private static partial void SetConcurrency(int threads);

    [LibraryImport(Library, EntryPoint = "vips_cache_set_max")]
    private static partial void SetCacheMax(int operations);

    /// <summary>Buffers that libvips holds now; tests use it to see that nothing leaks.</summary>
    [LibraryImport(Library, EntryPoint = "vips_tracked_get_allocs")]
    public static partial int TrackedAllocations();

    [LibraryImport(Library, EntryPoint = "vips_operation_new", StringMarshalling = StringMarshalling.Utf8)]
    public static partial VipsObject NewOperation(string name);

    [LibraryImport(Library, EntryPoint = "vips_object_set_argument_from_string", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetArgument(VipsObject operation, string name, string value);

    [LibraryImport(Library, EntryPoint = "vips_object_build")]
    public static partial int Build(VipsObject operation);

    [LibraryImport(Library, EntryPoint = "vips_object_unref_outputs")]
    public static partial void UnrefOutputs(VipsObject operation);

    [LibraryImport(Library, EntryPoint = "g_object_unref")]
    public static partial void Unref(nint instance);

    [LibraryImport(Library, EntryPoint = "g_free")]
    public static partial void Free(nint memory);

    [LibraryImport(Library, EntryPoint = "g_value_init")]
    public static partial nint InitValue(ref GValue value, nuint type);

    [LibraryImport(Library, EntryPoint = "g_value_unset")]
    public static partial void UnsetValue(ref GValue value);

    [LibraryImport(Library, EntryPoint = "g_value_set_object")]
    public static partial void SetObject(ref GValue value, VipsObject instance);

    [LibraryImport(Library, EntryPoint = "g_value_dup_object")]
    public static partial VipsObject DupObject(in GValue value);

    [LibraryImport(Library, EntryPoint = "g_value_set_boxed")]
    public static partial void SetBoxed(ref GValue value, nint boxed);

    [LibraryImport(Library, EntryPoint = "g_value_get_boxed")]
    public static partial nint GetBoxed(in GValue value);

    [LibraryImport(Library, EntryPoint = "g_object_set_property", StringMarshalling = StringMarshalling.Utf8)]
    public static partial void SetProperty(VipsObject instance, string name, in GValue value);

    [LibraryImport(Library, EntryPoint = "g_object_get_property", StringMarshalling = StringMarshalling.Utf8)]
    public static partial void GetProperty(VipsObject instance, string name, ref GValue value);

    [LibraryImport(Library, EntryPoint = "vips_image_get_type")]
    public static partial nuint ImageType();

    [LibraryImport(Library, EntryPoint = "vips_blob_get_type")]
    public static partial nuint BlobType();

    [LibraryImport(Library, EntryPoint = "vips_blob_copy")]
    public static partial nint CopyBlob(ReadOnlySpan<byte> data, nuint size);

    [LibraryImport(Library, EntryPoint = "vips_blob_get")]
    public static partial nint GetBlob(nint blob, out nuint size);

    [LibraryImport(Library, EntryPoint = "vips_area_unref")]
    public static partial void UnrefBlob(nint blob);

    [LibraryImport(Library, EntryPoint = "vips_image_new_from_memory_copy")]
    public static partial VipsObject NewImage(ReadOnlySpan<byte> data, nuint size, int width, int height, int bands, int format);

    [LibraryImport(Library, EntryPoint = "vips_image_write_to_memory")]
    public static partial nint WriteToMemory(VipsObject image, out nuint size);

    [LibraryImport(Library, EntryPoint = "vips_image_get_width")]
    public static partial int Width(VipsObject image);

    [LibraryImport(Library, EntryPoint = "vips_image_get_height")]
    public static partial int Height(VipsObject image);

    [LibraryImport(Library, EntryPoint = "vips_image_get_bands")]
    public static partial int Bands(VipsObject image);

    [LibraryImport(Library, EntryPoint = "vips_image_hasalpha")]
    public static partial int HasAlpha(VipsObject image);

    [LibraryImport(Library, EntryPoint = "vips_foreign_find_load_buffer")]
    public static partial nint FindLoader(ReadOnlySpan<byte> data, nuint size);

}

/// <summary>A counted reference to a GObject (an image or an operation).</summary>
internal sealed class VipsObject() : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        Vips.Unref(handle);
        return true;
    }
}
