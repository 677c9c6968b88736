using FsCheck;
using FsCheck.Fluent;

namespace OrtRlhf.Graph.Tests.Formats;

/// <summary>
/// Files damaged at random: bytes changed, numbers of eight bytes set to extremes, parts cut out, doubled or taken from elsewhere. Seeds
/// are fixed, so
/// that a failure comes back.
/// </summary>
internal static class Damage
{
    private const ulong Seed = 20261121, Gamma = 0x9E3779B97F4A7C15;

    private static readonly long[] Extremes = [0, 1, -1, long.MaxValue, long.MinValue, int.MaxValue, 1L << 32, 1L << 62, 8];

    /// <summary>Asserts that a reader takes whatever is left of a file, or refuses it in one line.</summary>
    /// <param name="file">A good file.</param>
    /// <param name="count">How many damaged ones to try.</param>
    /// <param name="read">Reads it; anything but <see cref="UserError"/> fails the test.</param>
    public static void Survives(byte[] file, int count, Action<byte[]> read)
    {
        var step =
            from kind in Gen.Choose(0, 5)
            from place in Gen.Choose(0, file.Length - 1)
            from other in Gen.Choose(0, file.Length - 1)
            from value in Gen.Choose(0, 255)
            select (kind, place, other, value);
        var damaged = Gen.NonEmptyListOf(step).Select(steps => steps.Take(4).Aggregate(file, Apply));
        Prop.ForAll(damaged.ToArbitrary(), bytes => Refused(bytes, read))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(count).WithReplay(Seed, Gamma));
    }

    /// <summary>Asserts that a reader refuses bytes in one line, or takes them.</summary>
    public static void Refused(byte[] bytes, Action<byte[]> read)
    {
        if (Record.Exception(() => read(bytes)) is not { } fault) return;
        Assert.True(fault is UserError, fault.ToString());
        Assert.DoesNotContain('\n', fault.Message);
        Assert.True(fault.Message.Length < 2000, fault.Message);
    }

    private static byte[] Apply(byte[] file, (int Kind, int Place, int Other, int Value) step)
    {
        if (file.Length == 0) return file;
        int place = step.Place % file.Length, length = Math.Min(step.Value % 64, file.Length - place);
        var changed = (byte[])file.Clone();
        switch (step.Kind)
        {
            case 0: changed[place] = (byte)step.Value; return changed;
            case 1: changed[place] ^= (byte)(1 << (step.Value % 8)); return changed;
            case 2:
                var number = BitConverter.GetBytes(Extremes[step.Value % Extremes.Length]);
                number.AsSpan(0, Math.Min(8, file.Length - place)).CopyTo(changed.AsSpan(place));
                return changed;
            case 3: return [.. file[..place], .. file[(place + length)..]];
            case 4: return [.. file[..place], .. file.AsSpan(place, length), .. file[place..]];
            default:
                var from = step.Other % file.Length;
                file.AsSpan(from, Math.Min(length, file.Length - from)).CopyTo(changed.AsSpan(place));
                return changed;
        }
    }
}
