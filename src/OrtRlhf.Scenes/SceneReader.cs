namespace OrtRlhf.Scenes;

/// <summary>
/// Reads a picture back: pixels with chroma belong to objects, each to the colour of the nearest hue; four-connected pixels of one
/// colour are one object; its shape is that of the template with the largest intersection over union. No learned part.
/// </summary>
public static class SceneReader
{
    private const int Side = Scene.Side;
    private const byte Background = byte.MaxValue;

    /// <summary>
    /// Share of a colour's own chroma from which a pixel belongs to an object. The outline lies at one half; a little less keeps
    /// objects that a weak model paints pale, and stays three times above any background's chroma.
    /// </summary>
    private const float ChromaShare = 0.45f;

    /// <summary>No pixel of less chroma is of any colour; spares most of the background the search for a hue.</summary>
    private const int ChromaFloor = 48;

    /// <summary>Steepness of the soft outline: pixels from 1/4 to 3/4 of the inner chroma are partly covered.</summary>
    private const float EdgeGain = 2;

    /// <summary>Fewer pixels are a blemish, not an object; the smallest object drawn, a triangle, has 100.</summary>
    private const int LeastArea = 30;

    /// <summary>Finds the objects of a picture, from the top.</summary>
    /// <param name="rgb"><see cref="Scene.ByteCount"/> bytes: rows, pixels, red green blue.</param>
    /// <exception cref="ArgumentException">The span is too short.</exception>
    public static IReadOnlyList<SceneFinding> Read(ReadOnlySpan<byte> rgb)
    {
        if (rgb.Length < Scene.ByteCount)
            throw new ArgumentException($"a picture takes {Scene.ByteCount} bytes, got {rgb.Length}", nameof(rgb));
        Span<byte> labels = stackalloc byte[Side * Side];
        Label(rgb, labels);

        var findings = new List<SceneFinding>();
        Span<short> members = stackalloc short[Side * Side];
        for (var i = 0; i < labels.Length; i++)
            if (labels[i] != Background)
            {
                var colour = (SceneColour)labels[i];
                var area = Collect(labels, i, members);
                if (area >= LeastArea)
                    findings.Add(Measure(rgb, colour, members[..area]));
            }
        return findings;
    }

    private static void Label(ReadOnlySpan<byte> rgb, Span<byte> labels)
    {
        for (var i = 0; i < labels.Length; i++)
        {
            var chroma = Chroma(rgb, i);
            labels[i] = Background;
            if (chroma > ChromaFloor)
            {
                var colour = ScenePalette.Nearest(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
                if (chroma >= ChromaShare * ScenePalette.Chroma(colour))
                    labels[i] = (byte)colour;
            }
        }
    }

    /// <summary>
    /// Moves the component around <paramref name="start"/> from the labels to <paramref name="members"/>; returns its area.
    /// </summary>
    private static int Collect(Span<byte> labels, int start, Span<short> members)
    {
        var colour = labels[start];
        var count = 0;
        Visit(start, labels, members);
        for (var next = 0; next < count; next++)
        {
            int p = members[next];
            var x = p % Side;
            if (x > 0) Visit(p - 1, labels, members);
            if (x < Side - 1) Visit(p + 1, labels, members);
            if (p >= Side) Visit(p - Side, labels, members);
            if (p < Side * (Side - 1)) Visit(p + Side, labels, members);
        }
        return count;

        void Visit(int p, Span<byte> labels, Span<short> members)
        {
            if (labels[p] != colour)
                return;
            labels[p] = Background;
            members[count++] = (short)p;
        }
    }

    private static SceneFinding Measure(ReadOnlySpan<byte> rgb, SceneColour colour, ReadOnlySpan<short> members)
    {
        Span<float> coverage = stackalloc float[Side * Side];
        coverage.Clear();
        var level = InnerChroma(rgb, members);
        var (left, top, right, bottom) = (Side, Side, -1, -1);
        foreach (var p in members)
        {
            coverage[p] = Math.Clamp(0.5f + EdgeGain * (Chroma(rgb, p) / level - 0.5f), 0, 1);
            var (x, y) = (p % Side, p / Side);
            (left, right) = (Math.Min(left, x), Math.Max(right, x));
            (top, bottom) = (Math.Min(top, y), Math.Max(bottom, y));
        }
        var extent = Math.Max(right - left, bottom - top) + 1;
        var (cx, cy) = ((left + right + 1) / 2f, (top + bottom + 1) / 2f);
        return new SceneFinding(colour, SceneTemplates.Fits(coverage, left, top, right, bottom), cx, cy, extent, members.Length);
    }

    /// <summary>Chroma of an object's inside: the mean of those of its pixels that are not below its mean.</summary>
    private static float InnerChroma(ReadOnlySpan<byte> rgb, ReadOnlySpan<short> members)
    {
        var sum = 0;
        foreach (var p in members)
            sum += Chroma(rgb, p);
        var mean = sum / members.Length;
        var (inner, count) = (0, 0);
        foreach (var p in members)
            if (Chroma(rgb, p) is var chroma && chroma >= mean)
                (inner, count) = (inner + chroma, count + 1);
        return (float)inner / count;
    }

    private static int Chroma(ReadOnlySpan<byte> rgb, int p)
    {
        var (r, g, b) = (rgb[3 * p], rgb[3 * p + 1], rgb[3 * p + 2]);
        return Math.Max(r, Math.Max(g, b)) - Math.Min(r, Math.Min(g, b));
    }
}
