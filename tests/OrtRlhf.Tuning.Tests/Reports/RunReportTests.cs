using System.Globalization;
using System.Text.RegularExpressions;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Reports;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Reports;

public sealed class RunReportTests
{
    [Fact]
    public void ToHtml_IsOneFileThatNeedsNoNetwork()
    {
        var html = Report(alignmentAfter: 0.62).ToHtml();
        Assert.StartsWith("<!doctype html>", html);
        Assert.DoesNotMatch(@"(?i)https?://|@import|url\(|<link[^>]+href=""(?!data:)", html);
        Assert.All(Regex.Matches(html, @"src=""([^""]{0,30})").Select(match => match.Groups[1].Value), source =>
            Assert.StartsWith("data:image/png;base64,", source));
        Assert.Equal(4, Regex.Count(html, "<img "));
        Assert.Contains("prefers-color-scheme: dark", html);
    }

    [Fact]
    public void ToHtml_Pictures_AreTheImages()
    {
        var report = Report(alignmentAfter: 0.62);
        var sources = Regex.Matches(report.ToHtml(), @"src=""data:image/png;base64,([^""]+)""").Select(match => Convert.FromBase64String(match.Groups[1].Value)).ToArray();
        Assert.True(report.Pairs[0].Before.SameAs(ImageCodec.Decode(sources[0])));
        Assert.True(report.Pairs[0].After.SameAs(ImageCodec.Decode(sources[1])));
    }

    [Fact]
    public void ToHtml_TextFromOutside_IsEscaped()
    {
        var html = Report(alignmentAfter: 0.62).ToHtml();
        Assert.DoesNotContain("<script>alert", html);
        Assert.Contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&quot;", html);
        Assert.Single(Regex.Matches(html, "<script"));
    }

    [Fact]
    public void ToHtml_Wins_AreToldForEachReward_WhereTheyAreKnown()
    {
        var report = Report(alignmentAfter: 0.62);
        Assert.Contains("<th class=\"n\">Wins", report.ToHtml());
        Assert.DoesNotContain("62.5% <small>", report.ToHtml());
        var wins = new Dictionary<string, BeforeAfter>(report.Summary.Rewards) { ["prompt-alignment"] = BeforeAfter.Of([1, 2, 3, 4], [2, 2, 2, 5]) };
        Assert.Contains("<td class=\"n\">62.5% <small>± 23.9</small>", (report with { Summary = report.Summary with { Rewards = wins } }).ToHtml());
    }

    [Fact]
    public void ToHtml_WatchedRewardFell_SaysWhatItCost()
    {
        var hacked = Report(alignmentAfter: 0.3).ToHtml();
        Assert.Contains("It cost: prompt-alignment −19 standard errors.", hacked);
        Assert.Contains("<b>prompt-alignment</b> went from 0.620 to 0.300 (−19 standard errors).", hacked);
        var clean = Report(alignmentAfter: 0.61).ToHtml();
        Assert.DoesNotContain("It cost:", clean);
        Assert.Contains("Nothing that was watched fell by two standard errors: prompt-alignment.", clean);
    }

    [Theory]
    [InlineData(-0.7, "The reward rose", "by 14 standard errors")]
    [InlineData(-1.5, "The reward fell", "by 14 standard errors")]
    [InlineData(-1.09, "The reward did not move", "+0.4 standard errors")]
    public void ToHtml_Headline_SaysWhatTheNumbersSay(double after, string verdict, string evidence)
    {
        var report = Report(alignmentAfter: 0.62);
        var html = (report with { Summary = report.Summary with { Reward = report.Summary.Reward with { After = new MeanEstimate(after, 0.02, 256) } } }).ToHtml();
        Assert.Contains($"<h1>{verdict} <em>", html);
        Assert.Contains(evidence, html);
    }

    [Fact]
    public void ToHtml_NothingButASummary_StillIsAPage()
    {
        var report = Report(alignmentAfter: 0.62);
        var html = new RunReport
        {
            Summary = report.Summary with { Ratio = null, Kl = null, Rewards = new Dictionary<string, BeforeAfter> { ["jpeg-compressibility"] = report.Summary.Rewards["jpeg-compressibility"] } },
            Epochs = [],
            Uses = [("Train on", "ortrlhf tune --resume \"runs/a b\"")],
        }.ToHtml();
        Assert.Contains("No reward beside the trained one was watched", html);
        Assert.Contains("tune --resume &quot;runs/a b&quot;", html);
        Assert.DoesNotContain("<h2>Learning curve", html);
    }

    [Fact]
    public void ToHtml_EpochsThatAreNotNumbers_InterruptTheCurve()
    {
        var report = Report(alignmentAfter: 0.62);
        var broken = report.Epochs.Select(epoch => epoch.Epoch == 5 ? epoch with { Loss = double.NaN, Reward = epoch.Reward with { Mean = double.NaN } } : epoch).ToArray();
        var html = (report with { Epochs = broken }).ToHtml();
        Assert.DoesNotContain("NaN", html);
        Assert.Equal(2, Regex.Count(html[..html.IndexOf("Behind the curve", StringComparison.Ordinal)], "class=\"line\""));
    }

    [Fact]
    public void ToHtml_OneEpoch_IsDrawn() =>
        Assert.Contains("class=\"dots\"", (Report(0.62) with { Epochs = [Epoch(1)] }).ToHtml());

    [Fact]
    public void ToHtml_InAnotherCulture_IsTheSame()
    {
        var expected = Report(0.62).ToHtml();
        var before = CultureInfo.CurrentCulture;
        var comma = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        (comma.NumberFormat.NumberDecimalSeparator, comma.NumberFormat.NegativeSign) = (",", "~");
        CultureInfo.CurrentCulture = comma;
        try
        {
            Assert.Equal(expected, Report(0.62).ToHtml());
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Theory]
    [InlineData(0, 10, 5, 0, 10, 6)]
    [InlineData(-0.97, 0.13, 5, -1, 0.2, 7)]
    [InlineData(64, 64, 3, 57.6, 70.4, 0)]
    [InlineData(0, 0, 3, -1, 1, 0)]
    [InlineData(1e-6, 3e-6, 3, 1e-6, 3e-6, 5)]
    public void Axis_Over_CoversWithRoundTicks(double low, double high, int ticks, double min, double max, int count)
    {
        var axis = Axis.Over([low, high, double.NaN], ticks, toTicks: true);
        Assert.InRange(low, axis.Min, axis.Max);
        Assert.InRange(high, axis.Min, axis.Max);
        Assert.InRange(axis.Ticks.Count, 2, 2 * ticks + 1);
        if (count == 0) return;
        Assert.Equal((min, max, count), (Math.Round(axis.Min, 9), Math.Round(axis.Max, 9), axis.Ticks.Count));
    }

    [Theory]
    [InlineData(1234.4, "1,234")]
    [InlineData(-12.34, "−12.3")]
    [InlineData(0.01234, "0.0123")]
    [InlineData(0.0000123, "1.2e−5")]
    [InlineData(0, "0")]
    public void Short_Number_Result(double value, string expected) => Assert.Equal(expected, ReportText.Short(value));

    [Theory]
    [InlineData(9.26, "9.3 s")]
    [InlineData(201.4, "3 min 21 s")]
    [InlineData(7500, "2 h 05 min")]
    public void Duration_Seconds_Result(double seconds, string expected) => Assert.Equal(expected, ReportText.Duration(seconds));

    private static RunReport Report(double alignmentAfter)
    {
        var reward = new BeforeAfter(new MeanEstimate(-1.1, 0.02, 256), new MeanEstimate(-0.7, 0.02, 256));
        return new RunReport
        {
            Summary = new RunSummary
            {
                Model = "models/shapes",
                Method = "ddpo",
                Seed = 7,
                Images = 2560,
                Seconds = 201.4,
                Reward = new RewardSummary("jpeg-compressibility", reward.Before, reward.After),
                Rewards = new Dictionary<string, BeforeAfter>
                {
                    ["jpeg-compressibility"] = reward,
                    ["prompt-alignment"] = new(new MeanEstimate(0.62, 0.012, 256), new MeanEstimate(alignmentAfter, 0.012, 256)),
                },
                Ratio = new RatioSummary(3e-6),
                Kl = 0.8,
                PeakMemoryBytes = 912345678,
            },
            Epochs = [.. Enumerable.Range(1, 10).Select(Epoch)],
            Pairs =
            [
                new("a red circle", 1, NoiseImage.Of(8, 8, 1), NoiseImage.Of(8, 8, 2), -1, -0.5),
                new("<script>alert(1)</script> \"quoted\"", 2, NoiseImage.Of(8, 8, 3), NoiseImage.Of(8, 8, 4)),
            ],
            Options = new Dictionary<string, string> { ["learning-rate"] = "0.001" },
        };
    }

    private static EpochMetrics Epoch(int epoch) => JsonLinesTests.Epoch(epoch) with { RatioFirstMaxDeviation = 1e-6, Kl = 0.1 * epoch };
}
