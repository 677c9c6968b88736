using System.Globalization;
using System.Text;
using static OrtRlhf.Tuning.Reports.ReportText;

namespace OrtRlhf.Tuning.Reports;

/// <summary>One curve among several.</summary>
/// <param name="Name">For the legend.</param>
/// <param name="Points">At least one; the error is shaded.</param>
internal sealed record Curve(string Name, IReadOnlyList<ChartPoint> Points);

/// <summary>
/// Several curves over images scored as a picture of its own: an SVG file, which follows the light or dark of the page it stands on.
/// </summary>
internal sealed record CurveChart(string Title, IReadOnlyList<Curve> Curves)
{
    private const int Width = 860, Left = 62, Top = 40, PlotWidth = 776, PlotHeight = 300, LegendLine = 22;

    // Colours that those who confuse red and green tell apart too (Okabe and Ito); further curves are dashed.
    private static readonly string[] Colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
    private static readonly CultureInfo Culture = CultureInfo.InvariantCulture;

    /// <summary>The picture.</summary>
    public string ToSvg()
    {
        var points = Curves.SelectMany(curve => curve.Points).ToArray();
        var x = Axis.Over(points.Select(point => point.X), 7, toTicks: false);
        var y = Axis.Over(points.SelectMany(point => new[] { point.Y - point.Error, point.Y + point.Error }), 5, toTicks: true);
        var height = Top + PlotHeight + 44 + LegendLine * Curves.Count;
        var svg = new StringBuilder();
        svg.Append(Culture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" "
            + $"height=\"{height}\" role=\"img\" aria-label=\"{Html(Title)}\">\n");
        svg.Append(
            "<style>text{font:13px system-ui,sans-serif;fill:#3d4657}.t{font-size:16px;font-weight:600}.g{stroke:#8d95a3;stroke-opacity:.3}"
            + ".l{fill:none;stroke-width:2;stroke-linejoin:round}.b{stroke:none;fill-opacity:.15}@media(prefers-color-scheme:dark){text{fill:#cdd3dd}}</style>\n");
        svg.Append(Culture, $"<text class=\"t\" x=\"{Left}\" y=\"22\">{Html(Title)}</text>\n");
        foreach (var tick in y.Ticks)
            svg.Append(Culture, $"<path class=\"g\" d=\"M{Left} {Y(y, tick)}h{PlotWidth}\"/><text x=\"{Left - 8}\" y=\"{Y(y, tick)}\" "
                + $"dy=\"4\" text-anchor=\"end\">{Fixed(tick, Math.Min(y.Decimals, 4))}</text>\n");
        foreach (var tick in x.Ticks)
            svg.Append(Culture,
                $"<text x=\"{X(x, tick)}\" y=\"{Top + PlotHeight + 20}\" text-anchor=\"middle\">{Count((long)tick)}</text>\n");
        svg.Append(Culture, $"<text x=\"{Left + PlotWidth}\" y=\"{Top + PlotHeight + 38}\" text-anchor=\"end\">images scored</text>\n");
        for (var i = 0; i < Curves.Count; i++)
        {
            var (colour, dash) = (Colours[i % Colours.Length], i < Colours.Length ? "" : " stroke-dasharray=\"6 4\"");
            var finite = Curves[i].Points.Where(point => double.IsFinite(point.Y)).ToArray();
            if (finite.Any(point => point.Error > 0))
            {
                var edge = finite.Select(point => $"{X(x, point.X)} {Y(y, point.Y + point.Error)}")
                    .Concat(finite.Reverse().Select(point => $"{X(x, point.X)} {Y(y, point.Y - point.Error)}"));
                svg.Append($"<path class=\"b\" fill=\"{colour}\" d=\"M{string.Join('L', edge)}Z\"/>\n");
            }
            svg.Append($"<path class=\"l\" stroke=\"{colour}\"{dash} "
                + $"d=\"M{string.Join('L', finite.Select(point => $"{X(x, point.X)} {Y(y, point.Y)}"))}\"/>\n");
            var line = Top + PlotHeight + 44 + LegendLine * i;
            svg.Append(Culture, $"<path class=\"l\" stroke=\"{colour}\"{dash} d=\"M{Left} {line}h26\"/><text x=\"{Left + 36}\" "
                + $"y=\"{line}\" dy=\"4\">{Html(Curves[i].Name)}</text>\n");
        }
        return svg.Append("</svg>\n").ToString();
    }

    private static string X(Axis axis, double value) => (Left + (PlotWidth * axis.Place(value))).ToString("0.#", Culture);

    private static string Y(Axis axis, double value) => (Top + PlotHeight - (PlotHeight * axis.Place(value))).ToString("0.#", Culture);
}
