using System.Globalization;
using System.Text;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Tuning.Metrics;
using static OrtRlhf.Tuning.Reports.ReportText;

namespace OrtRlhf.Tuning.Reports;

/// <summary>Puts the report's sections together; each method writes one.</summary>
internal sealed class ReportPage
{
    private readonly RunReport report;
    private readonly RunSummary summary;
    private readonly IReadOnlyDictionary<string, double> weights;
    private readonly string expression;
    private readonly StringBuilder html = new();

    private ReportPage(RunReport report)
    {
        (this.report, summary, weights) = (report, report.Summary, report.Weights);
        expression = Expression(weights);
    }

    /// <summary>The whole page.</summary>
    public static string Write(RunReport report)
    {
        var page = new ReportPage(report);
        page.Head();
        page.Headline();
        page.Pictures();
        page.Curve();
        page.HeldOut();
        page.SmallCurves();
        page.Usage();
        page.Options();
        page.Foot();
        return page.html.ToString();
    }

    private void Head() => html.Append($"""
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>{Html($"{summary.Method} · {expression}")}</title>
        <link rel="icon" href="data:,">
        <style>
        {Resource("report.css")}
        </style>
        </head>
        <body>
        <main>

        """);

    private void Headline()
    {
        var (before, after) = (summary.Reward.Before, summary.Reward.After);
        var errors = summary.Reward.StandardErrors;
        var verdict = Math.Abs(errors) < 2 ? "The reward did not move" : errors > 0 ? "The reward rose" : "The reward fell";
        var evidence = Math.Abs(errors) < 2 ? $"by more than chance would ({StandardErrors(errors)} standard errors)"
            : double.IsInfinity(errors) ? "on prompts it never trained on"
                : $"by {StandardErrors(Math.Abs(errors)).TrimStart('+')} standard errors on prompts it never trained on";
        var decimals = Decimals(before, after);
        var wins = summary.Reward.WinRate is { } rate ? string.Create(CultureInfo.InvariantCulture,
            $"<br>wins {100 * rate.Mean:0.#}% ± {100 * rate.Stderr:0.#} of them against the base") : "";
        html.Append($"""
            <header>
            <p class="eyebrow">OrtRlhf <span>{Html(summary.Method)}</span> <span>{Html(summary.Model)}</span> <span>seed {summary.Seed}</span></p>
            <h1>{verdict} <em>{evidence}</em></h1>
            <p class="lead">Trained on <code>{Html(expression)}</code> with {Count(summary.Images)} images in {Duration(summary.Seconds)}.{Price()}</p>
            <dl class="tiles">
            <div class="hero"><dt>Held-out reward</dt><dd><span class="from">{Fixed(before.Mean, decimals)}</span><span class="arrow">→</span>{Fixed(after.Mean, decimals)}</dd><dd class="note">{Chip(errors)} standard errors on {Count(after.N)} images{wins}</dd></div>

            """);
        if (summary.Kl is { } kl) Tile("KL to the base", Short(kl), "nats, held out");
        if (report is { DiversityBefore: { } spreadBefore, DiversityAfter: { } spreadAfter })
        {
            Tile("Diversity", $"<span class=\"from\">{Short(spreadBefore)}</span><span class=\"arrow\">→</span>{Short(spreadAfter)}",
                $"<b class=\"{(spreadAfter < 0.75 * spreadBefore ? "bad" : "")}\">{Percent(spreadBefore, spreadAfter)}</b> between "
                + $"images of a prompt");
        }
        if (summary.Ratio is { } ratio)
        {
            var exact = ratio.FirstMaxDeviation <= 1e-4;
            Tile("Ratio at first pass", $"1 ± {Short(ratio.FirstMaxDeviation)}", exact
                ? "<b class=\"good\">✓</b> sampler and trainer agree" : "<b class=\"bad\">✗</b> must be within 1e−4");
        }
        Tile("Peak memory", Bytes(summary.PeakMemoryBytes), Speed());
        html.Append("</dl>\n</header>\n");
    }

    private void Tile(string name, string value, string note) =>
        html.Append($"<div><dt>{name}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>\n");

    private string Speed() =>
        report.Timings.Sum(timing => timing.TotalSeconds) is var seconds and > 0 ? $"{Short(summary.Images / seconds)} images a second"
            : "of the whole process";

    private void Pictures()
    {
        if (report.Pairs.Count == 0) return;
        html.Append("""
            <section>
            <h2>Before and after</h2>
            <p class="about">Left the base model, right the tuned one: same prompt, same seed. These prompts were held out.</p>
            <div class="pairs">

            """);
        foreach (var pair in report.Pairs)
        {
            html.Append("<figure><div class=\"pair\">");
            Picture(pair.Before, "before");
            Picture(pair.After, "after");
            html.Append($"</div><p class=\"scores\"><span>before {Score(pair.ScoreBefore)}</span><span>after "
                + $"{Score(pair.ScoreAfter)}</span></p><figcaption>{Html(pair.Prompt)} <span class=\"seed\">seed "
                + $"{pair.Seed}</span></figcaption></figure>\n");
        }
        html.Append("</div>\n</section>\n");
    }

    private static string Score(double? score) => score is { } value ? $"<b>{Fixed(value, 2)}</b>" : "";

    private void Picture(RgbImage image, string side)
    {
        var crisp = Math.Max(image.Width, image.Height) <= 160 ? " class=\"crisp\"" : "";
        var source = Convert.ToBase64String(ImageCodec.EncodePng(image, compression: 9));
        html.Append($"<div class=\"{side}\"><img{crisp} alt=\"{side}\" width=\"{image.Width}\" height=\"{image.Height}\" "
            + $"src=\"data:image/png;base64,{source}\"></div>");
    }

    private void Curve()
    {
        if (report.Epochs.Count == 0) return;
        var (before, after) = (summary.Reward.Before, summary.Reward.After);
        html.Append($"""
            <section>
            <h2>Learning curve</h2>
            <p class="about">Mean reward of each epoch's images over images scored; shaded: two standard errors. Dashed: held-out prompts before and after.</p>
            <p class="legend"><span class="key line"></span>trend <span class="key raw"></span>epoch <span class="key band"></span>± 2 standard errors <span class="key before"></span>held out, before <span class="key after"></span>held out, after</p>

            """);
        new LineChart(expression,
            Points(epoch => epoch.Reward.Mean, epoch => epoch.Reward.N > 0 ? epoch.Reward.Stddev / Math.Sqrt(epoch.Reward.N) : 0))
        {
            Large = true,
            Smooth = report.Epochs.Count >= 6,
            Levels = [new(before.Mean, "before", "before"), new(after.Mean, "after", "after")],
        }.Write(html);
        html.Append("<p class=\"xlabel\">images scored</p>\n</section>\n");
    }

    private void HeldOut()
    {
        html.Append("""
            <section>
            <h2>Held-out rewards</h2>
            <div class="scroll"><table>
            <thead><tr><th>Reward<th class="n">Before<th class="n">After<th class="n">Change<th class="n">Standard errors<th class="n">Wins<th aria-label="in a picture"></tr></thead>
            <tbody>

            """);
        Row(expression, weights.Count > 1 ? "the sum trained on" : "trained on", summary.Reward, "total", sign: 1);
        foreach (var (name, change) in summary.Rewards.OrderBy(reward => !weights.ContainsKey(reward.Key)))
        {
            if (weights.Count == 1 && weights.TryGetValue(name, out var only) && only == 1) continue;
            var role = weights.TryGetValue(name, out var weight) ? $"trained, weight {Weight(weight)}" : "watched";
            Row(name, role, change, weights.ContainsKey(name) ? "trained" : "watched", Sign(name));
        }
        html.Append("</tbody></table></div>\n");
        Cost();
        html.Append($"<p class=\"about\">Both columns are means over the same {summary.Reward.After.N} held-out prompts and seeds, ± "
            + $"their standard errors. Standard errors are the change over the standard error of the difference, taken image by image; "
            + $"wins the share of images that score higher than the base model's of the same prompt and seed, ties half.</p>\n</section>\n");
    }

    private void Row(string name, string role, BeforeAfter change, string kind, int sign)
    {
        var (before, after, _) = change;
        var (decimals, errors) = (Decimals(before, after), change.StandardErrors);
        var width = Math.Min(50, 50 * Math.Log(1 + Math.Abs(errors)) / Math.Log(51));
        html.Append($"<tr class=\"{kind}\"><th>{Html(name)} <span class=\"role\">{role}</span><td "
            + $"class=\"n\">{Estimate(before, decimals)}<td class=\"n\">{Estimate(after, decimals)}");
        html.Append($"<td class=\"n\">{Signed(after.Mean - before.Mean, decimals)} <small>{Percent(before.Mean, after.Mean)}</small><td "
            + $"class=\"n\">{Chip(errors, sign)}<td class=\"n\">{(change.WinRate is { } wins ? Share(wins) : "")}");
        html.Append(CultureInfo.InvariantCulture, $"<td class=\"bar\"><i class=\"{Tone(sign * errors)}\" "
            + $"style=\"width:{width:0.#}%;{(errors < 0 ? "right" : "left")}:50%\"></i></tr>\n");
    }

    private void Cost()
    {
        var fallen = Fallen();
        var watched = summary.Rewards.Keys.Where(name => !weights.ContainsKey(name)).ToArray();
        if (fallen.Length > 0)
        {
            html.Append("<div class=\"callout bad\"><h3>What it cost</h3><p>");
            foreach (var (name, change, errors) in fallen)
            {
                var decimals = Decimals(change.Before, change.After);
                html.Append($"<b>{Html(name)}</b> went from {Fixed(change.Before.Mean, decimals)} to "
                    + $"{Fixed(change.After.Mean, decimals)} ({StandardErrors(errors)} standard errors). ");
            }
            html.Append(fallen.Any(reward => !weights.ContainsKey(reward.Name))
                ? "The run was not rewarded for what it only watched: the sign of a reward being hacked. Give it a weight in the sum, or "
                    + "stop earlier.</p></div>\n"
                : "It is a part of the sum, given up for the others. Raise its weight, or stop earlier.</p></div>\n");
        }
        else if (watched.Length > 0)
        {
            html.Append($"<div class=\"callout good\"><h3>What it cost</h3><p>Nothing that was watched fell by two standard errors: "
                + $"{string.Join(", ", watched.Select(Html))}.</p></div>\n");
        }
        else
        {
            html.Append("<div class=\"callout\"><h3>What it cost</h3><p>No reward beside the trained one was watched: look at the images "
                + "above.</p></div>\n");
        }
    }

    private string Price() => Fallen() is [var (name, _, errors), ..]
        ? $" <b class=\"bad\">It cost: {Html(name)} {StandardErrors(errors)} standard errors.</b>" : "";

    // Worst first: what became worse by two standard errors, though watched or part of the sum.
    private (string Name, BeforeAfter Change, double Errors)[] Fallen() =>
        [.. summary.Rewards.Select(reward => (reward.Key, reward.Value, Errors: reward.Value.StandardErrors))
            .Where(reward => Sign(reward.Key) * reward.Errors <= -2 && !(weights.Count == 1 && weights.ContainsKey(reward.Key)))
            .OrderBy(reward => Sign(reward.Key) * reward.Errors)];

    private int Sign(string name) => weights.TryGetValue(name, out var weight) && weight < 0 ? -1 : 1;

    private void SmallCurves()
    {
        var charts = new List<LineChart>();
        foreach (var name in report.Epochs.SelectMany(epoch => epoch.Rewards.Keys).Distinct())
        {
            var levels = summary.Rewards.TryGetValue(name, out var change)
                ? new ChartLevel[] { new(change.Before.Mean, "before", "before"), new(change.After.Mean, "after", "after") } : [];
            if (weights.Count > 1 || !weights.ContainsKey(name)) Add(weights.ContainsKey(name) ? name : name + " (watched)", epoch =>
                epoch.Rewards.TryGetValue(name, out var value) ? value : null, levels);
        }
        Add("Diversity of images of one prompt", epoch => epoch.Diversity);
        Add("KL to the base, nats", epoch => epoch.Kl);
        Add("Loss", epoch => epoch.Loss);
        Add("Share of clipped ratios", epoch => epoch.ClipFraction);
        Add("Largest |ratio − 1| at first pass", epoch => epoch.RatioFirstMaxDeviation);
        Add("Gradient norm", epoch => epoch.GradientNorm);
        Add("Learning rate", epoch => epoch.LearningRate, smooth: false);
        foreach (var name in report.Epochs.SelectMany(epoch => epoch.Other?.Keys ?? []).Distinct())
        {
            Add(name, epoch => epoch.Other is { } other && other.TryGetValue(name, out var value) ? value : null);
        }
        if (charts.Count == 0) return;
        html.Append("<section>\n<h2>Behind the curve</h2>\n<p class=\"about\">Means over each epoch's images and updates, on the prompts "
            + "trained on.</p>\n<div class=\"smalls\">\n");
        foreach (var chart in charts)
        {
            var finite = chart.Points.Where(point => double.IsFinite(point.Y)).ToArray();
            html.Append($"<div class=\"small\"><h3>{Html(chart.Title)}</h3><p class=\"ends\">{Short(finite[0].Y)} → "
                + $"<b>{Short(finite[^1].Y)}</b></p>");
            chart.Write(html);
            html.Append("</div>\n");
        }
        html.Append("</div>\n</section>\n");

        void Add(string title, Func<EpochMetrics, double?> value, IReadOnlyList<ChartLevel>? levels = null, bool smooth = true)
        {
            var points = Points(value, _ => 0);
            if (points.Any(point => double.IsFinite(point.Y))) charts.Add(new LineChart(title, points)
            {
                Levels = levels ?? [],
                Smooth = smooth && points.Count >= 6
            });
        }
    }

    private void Usage()
    {
        html.Append("<section>\n<h2>Use it</h2>\n<div class=\"uses\">\n");
        foreach (var (title, code) in report.Uses) Code(title, code);
        Code("In an application, with ONNX Runtime alone", $"""
            using var adapter = OrtLoraAdapter.Create("adapter.onnx_adapter", null);
            using var run = new RunOptions();
            run.AddActiveLoraAdapter(adapter);
            using var outputs = session.Run(run, inputs, session.OutputNames);
            """);
        html.Append("</div>\n</section>\n");
    }

    private void Code(string title, string code) =>
        html.Append($"<div class=\"use\"><h3>{title}</h3><pre><code>{Html(code)}</code></pre></div>\n");

    private void Options()
    {
        if (report.Options.Count == 0) return;
        html.Append("<section>\n<h2>Options</h2>\n<dl class=\"options\">\n");
        foreach (var (name, value) in report.Options) html.Append($"<div><dt>{Html(name)}</dt><dd>{Html(value)}</dd></div>\n");
        html.Append("</dl>\n</section>\n");
    }

    private void Foot()
    {
        var (sample, score, update) = (report.Timings.Sum(t => t.SampleSeconds), report.Timings.Sum(t => t.ScoreSeconds),
            report.Timings.Sum(t => t.UpdateSeconds));
        var time = sample + score + update is var all and > 0 ? $"Of the time {Fixed(100 * sample / all, 0)}% went into sampling, "
            + $"{Fixed(100 * score / all, 0)}% into scoring, {Fixed(100 * update / all, 0)}% into updates. " : "";
        html.Append($"""
            <footer>{time}Made with {Html(report.MadeWith)}. This file needs no network.</footer>
            </main>
            <div id="tip" hidden></div>
            <script>
            {Resource("report.js")}
            </script>
            </body>
            </html>

            """);
    }

    private IReadOnlyList<ChartPoint> Points(Func<EpochMetrics, double?> value, Func<EpochMetrics, double> error) =>
        // What was not measured in an epoch is left out; what is no number interrupts the line.
        [.. from epoch in report.Epochs let y = value(epoch) where y is not null select new ChartPoint(epoch.Images, y.Value, error(epoch),
            epoch.Epoch)];

    private static string Chip(double errors, int sign = 1) =>
        $"<span class=\"chip {Tone(sign * errors)}\">{StandardErrors(errors)}</span>";

    private static string Tone(double errors) => errors >= 2 ? "good" : errors <= -2 ? "bad" : "even";

    private static string Estimate(MeanEstimate estimate, int decimals) =>
        $"{Fixed(estimate.Mean, decimals)} <small>± {Fixed(estimate.Stderr, decimals)}</small>";

    private static string Share(MeanEstimate share) =>
        string.Create(CultureInfo.InvariantCulture, $"{100 * share.Mean:0.0}% <small>± {100 * share.Stderr:0.0}</small>");

    private static string Percent(double before, double after) =>
        before == 0 ? "" : $"{((after - before) / Math.Abs(before) > 0 ? "+" : "")}{Fixed(100 * (after - before) / Math.Abs(before), 0)}%";

    private static string Resource(string name)
    {
        using var stream = typeof(ReportPage).Assembly.GetManifestResourceStream($"OrtRlhf.Tuning.Reports.{name}")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().TrimEnd();
    }
}
