using System.Globalization;
using System.Text;
using System.Text.Json;
using OrtRlhf.Graph.Files;
using static OrtRlhf.Tuning.Reports.ReportText;

namespace OrtRlhf.Tuning.Reports;

/// <summary>One point of a curve.</summary>
/// <param name="X">Images scored.</param>
/// <param name="Y">Value; a point that is not finite interrupts the curve.</param>
/// <param name="Error">Standard error, 0 for none; shaded to twice its size.</param>
/// <param name="Epoch">Named in the tooltip.</param>
internal readonly record struct ChartPoint(double X, double Y, double Error, int Epoch);

/// <summary>A level drawn across the chart.</summary>
/// <param name="Value">Where.</param>
/// <param name="Label">What it is.</param>
/// <param name="Class">CSS class: "before" or "after".</param>
internal sealed record ChartLevel(double Value, string Label, string Class);

/// <summary>
/// A curve over images scored. The lines are an SVG that stretches with the page while strokes keep their width; texts are HTML
/// beside it, so that they keep their size on any screen. The page's script adds the tooltip.
/// ScottPlot 5.1 was tried in its place. Its SVG has one size and one set of colours, so that a page would need a light and a dark copy of
/// each chart (28 KB); every letter is placed singly, in a font that the reader's machine may lack, and there is no tooltip. It brings
/// 11 MB of native libraries a platform.
/// </summary>
internal sealed record LineChart(string Title, IReadOnlyList<ChartPoint> Points)
{
    private const double Side = 1000;

    /// <summary>Levels to compare with.</summary>
    public IReadOnlyList<ChartLevel> Levels { get; init; } = [];

    /// <summary>Whether it is the page's large chart, or one of many small ones.</summary>
    public bool Large { get; init; }

    /// <summary>Whether a trend is drawn through the points.</summary>
    public bool Smooth { get; init; }

    /// <summary>Appends the chart as HTML.</summary>
    public void Write(StringBuilder html)
    {
        var x = Axis.Over(Points.Select(point => point.X), Large ? 7 : 3, toTicks: false);
        var y = Axis.Over(Points.SelectMany(point => new[] { point.Y - 2 * point.Error, point.Y + 2 * point.Error })
            .Concat(Levels.Select(level => level.Value)),
            Large ? 5 : 3, toTicks: true);
        var smooth = Smoothed();
        var lead = Smooth ? smooth : [.. Points.Select(point => point.Y)];

        html.Append(CultureInfo.InvariantCulture,
            $"<div class=\"plot{(Large ? " large" : "")}\" data-points=\"{Html(Tooltips(x, y, lead))}\"><div class=\"area\">");
        html.Append("<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"").Append(Html(Title))
            .Append("\">");
        foreach (var tick in y.Ticks) html.Append(CultureInfo.InvariantCulture, $"<path class=\"grid\" d=\"M0 {Y(y, tick)}H1000\"/>");
        foreach (var level in Levels) html.Append(CultureInfo.InvariantCulture,
            $"<path class=\"level {level.Class}\" d=\"M0 {Y(y, level.Value)}H1000\"/>");
        foreach (var run in Runs(i => Points[i].Error > 0))
        {
            var upper = run.Select(i => $"{X(x, Points[i].X)} {Y(y, Points[i].Y + 2 * Points[i].Error)}");
            var lower = run.Reverse().Select(i => $"{X(x, Points[i].X)} {Y(y, Points[i].Y - 2 * Points[i].Error)}");
            html.Append($"<path class=\"band\" d=\"M{string.Join('L', upper.Concat(lower))}Z\"/>");
        }
        if (Smooth) Line(html, "raw", x, y, [.. Points.Select(point => point.Y)]);
        Line(html, "line", x, y, lead);
        if (Large && Points.Count <= 60) Dots(html, x, y, [.. Points.Select(point => point.Y)]);
        html.Append("</svg>");

        foreach (var tick in y.Ticks) html.Append(CultureInfo.InvariantCulture,
            $"<span class=\"ytick\" style=\"top:{100 - 100 * y.Place(tick):0.##}%\">{Tick(tick, y)}</span>");
        foreach (var tick in x.Ticks) html.Append(CultureInfo.InvariantCulture,
            $"<span class=\"xtick\" style=\"left:{100 * x.Place(tick):0.##}%\">{Count((long)tick)}</span>");
        foreach (var (level, top) in Levels.Zip(LabelPlaces(y)).Where(_ => Large))
        {
            html.Append(CultureInfo.InvariantCulture,
                $"<span class=\"level-label {level.Class}\" style=\"top:{top:0.##}%\">{Html(level.Label)}</span>");
        }
        html.Append("<i class=\"cursor\"></i><i class=\"mark\"></i></div></div>\n");
    }

    /// <summary>
    /// A local straight-line fit around each point, weights (1 - (d/h)^2)^2 over distances d below h: unlike a running mean it
    /// neither lags nor flattens the ends.
    /// </summary>
    private double[] Smoothed()
    {
        var width = Math.Max(4.0, Points.Count / 5.0);
        return [.. Points.Select((_, at) => double.IsFinite(Points[at].Y) ? Fit(at) : double.NaN)];

        double Fit(int at)
        {
            var (w, wd, wdd, wy, wdy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (var i = 0; i < Points.Count; i++)
            {
                double d = i - at;
                if (Math.Abs(d) >= width || !double.IsFinite(Points[i].Y)) continue;
                var weight = Math.Pow(1 - d * d / (width * width), 2);
                (w, wd, wdd, wy, wdy) = (w + weight, wd + weight * d, wdd + weight * d * d, wy + weight * Points[i].Y,
                    wdy + weight * d * Points[i].Y);
            }
            var spread = w * wdd - wd * wd;
            return spread > 1e-9 * w * wdd ? (wdd * wy - wd * wdy) / spread : wy / w;
        }
    }

    private void Line(StringBuilder html, string kind, Axis x, Axis y, double[] values)
    {
        foreach (var run in Runs(i => double.IsFinite(values[i])))
        {
            html.Append($"<path class=\"{kind}\" d=\"M{string.Join('L', run.Select(i => $"{X(x, Points[i].X)} {Y(y, values[i])}"))}\"/>");
        }
    }

    // A path of no length with round ends stays a circle however the drawing is stretched.
    private void Dots(StringBuilder html, Axis x, Axis y, double[] values)
    {
        html.Append("<path class=\"dots\" d=\"");
        for (var i = 0; i < values.Length; i++)
        {
            if (double.IsFinite(values[i])) html.Append($"M{X(x, Points[i].X)} {Y(y, values[i])}h0");
        }
        html.Append("\"/>");
    }

    // Stretches of points that pass the test, as indices.
    private IEnumerable<int[]> Runs(Func<int, bool> test)
    {
        var run = new List<int>();
        for (var i = 0; i <= Points.Count; i++)
        {
            if (i < Points.Count && double.IsFinite(Points[i].Y) && test(i))
            {
                run.Add(i);
            }
            else if (run.Count > 0)
            {
                yield return [.. run];
                run.Clear();
            }
        }
    }

    // Labels sit above their lines; the lower of two that would touch goes below its own.
    private double[] LabelPlaces(Axis y)
    {
        var places = Levels.Select(level => 100 - 100 * y.Place(level.Value)).ToArray();
        return [.. places.Select((place, i) => places.Where((other, j) => j != i).Any(other =>
            Math.Abs(other - place) < 8 && (other < place || (other == place && i > 0))) ? place + 8 : place)];
    }

    private string Tooltips(Axis x, Axis y, double[] lead)
    {
        var rows = Points.Select((point, i) => (point, i)).Where(item => double.IsFinite(item.point.Y)).Select(item => new object[]
        {
            Math.Round(x.Place(item.point.X), 4), Math.Round(1 - y.Place(lead[item.i]), 4),
            $"Epoch {item.point.Epoch} · {Count((long)item.point.X)} images",
            $"{Short(item.point.Y)}{(item.point.Error > 0 ? " ± " + Short(item.point.Error) : "")}{(Smooth ? $" (trend {Short(lead[item.i])})" : "")}",
        });
        return JsonSerializer.Serialize(rows, JsonFile.Line);
    }

    private static string Tick(double value, Axis axis) =>
        axis.Decimals > 3 && Math.Abs(value) > 1e-12 ? Short(value) : Fixed(value, axis.Decimals > 3 ? 0 : axis.Decimals);

    private static string X(Axis axis, double value) => (Side * axis.Place(value)).ToString("0.#", CultureInfo.InvariantCulture);

    private static string Y(Axis axis, double value) => (Side - Side * axis.Place(value)).ToString("0.#", CultureInfo.InvariantCulture);
}
