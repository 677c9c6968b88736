using System.Globalization;
using Google.Protobuf;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Metrics.Events;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>
/// An event file that TensorBoard shows: scalars and images by tag and step. Each record is on its way to the disk when a call
/// returns. A run that resumes opens a further file, whose first event makes TensorBoard drop points past the checkpoint.
/// The messages are those of event.proto.
/// </summary>
public sealed class TensorBoardLog : IDisposable
{
    private readonly FileStream stream;
    private readonly Func<DateTimeOffset> clock;

    private TensorBoardLog(FileStream stream, Func<DateTimeOffset> clock) => (this.stream, this.clock) = (stream, clock);

    /// <summary>The event file.</summary>
    public string Path => stream.Name;

    /// <summary>Starts a new event file.</summary>
    /// <param name="folder">The folder that TensorBoard is pointed at; made when missing.</param>
    /// <param name="afterEpoch">The epoch of the checkpoint resumed from; 0 for a new run, which removes event files of an earlier
    /// one.</param>
    /// <param name="clock">Gives the events' times; null for the system's.</param>
    /// <exception cref="UserError">The file cannot be made.</exception>
    public static TensorBoardLog Open(string folder, int afterEpoch = 0, Func<DateTimeOffset>? clock = null)
    {
        clock ??= () => DateTimeOffset.UtcNow;
        return DiskFault.Guard(folder, () =>
        {
            Directory.CreateDirectory(folder);
            var earlier = Directory.GetFiles(folder, "events.out.tfevents.*");
            if (afterEpoch == 0) Array.ForEach(earlier, File.Delete);
            // TensorBoard reads files in the order of their names; resumptions within a second still differ.
            var number = afterEpoch == 0 ? 0 : earlier.Length;
            var name = string.Create(CultureInfo.InvariantCulture,
                $"events.out.tfevents.{clock().ToUnixTimeSeconds():D10}.ortrlhf.{number:D4}");
            var log = new TensorBoardLog(new FileStream(System.IO.Path.Combine(folder, name), FileMode.CreateNew, FileAccess.Write,
                FileShare.Read, 0), clock);
            log.Append(0, new Event { FileVersion = "brain.Event:2" });
            if (afterEpoch > 0) log.Append(afterEpoch + 1,
                new Event { SessionLog = new SessionLog { Status = SessionLog.Types.SessionStatus.Start } });
            return log;
        });
    }

    /// <summary>Adds one point to several curves.</summary>
    /// <param name="step">The epoch.</param>
    /// <param name="scalars">Tag and value; a tag's part before '/' is its group. float32 in the file.</param>
    /// <exception cref="UserError">Full disk or another I/O fault.</exception>
    public void Scalars(int step, IEnumerable<(string Tag, double Value)> scalars)
    {
        var summary = new Summary();
        foreach (var (tag, value) in scalars) summary.Value.Add(new Summary.Types.Value { Tag = tag, SimpleValue = (float)value });
        Append(step, new Event { Summary = summary });
    }

    /// <summary>Adds every value of an epoch, grouped as reward/, rewards/, train/.</summary>
    /// <param name="metrics">The epoch.</param>
    /// <exception cref="UserError">Full disk or another I/O fault.</exception>
    public void Scalars(EpochMetrics metrics)
    {
        List<(string, double?)> values =
        [
            ("reward/mean", metrics.Reward.Mean), ("reward/stddev", metrics.Reward.Stddev), ("reward/min", metrics.Reward.Min),
                ("reward/max", metrics.Reward.Max),
            .. metrics.Rewards.Select(part => ("rewards/" + part.Key, (double?)part.Value)),
            ("train/images", metrics.Images), ("train/loss", metrics.Loss), ("train/kl", metrics.Kl),
                ("train/ratio.firstMaxDeviation", metrics.RatioFirstMaxDeviation),
            ("train/clipFraction", metrics.ClipFraction), ("train/gradientNorm", metrics.GradientNorm),
                ("train/learningRate", metrics.LearningRate),
            ("train/diversity", metrics.Diversity),
            .. (metrics.Other ?? new Dictionary<string, double>()).Select(other => ("train/" + other.Key, (double?)other.Value)),
        ];
        Scalars(metrics.Epoch, from value in values where value.Item2 is not null select (value.Item1, value.Item2!.Value));
    }

    /// <summary>Adds an image, as a PNG.</summary>
    /// <param name="step">The epoch.</param>
    /// <param name="tag">Its tag.</param>
    /// <param name="image">The image.</param>
    /// <exception cref="UserError">Full disk or another I/O fault.</exception>
    public void Image(int step, string tag, RgbImage image)
    {
        const int rgb = 3;
        var shown = new Summary.Types.Image
        {
            Height = image.Height,
            Width = image.Width,
            Colorspace = rgb,
            EncodedImageString = UnsafeByteOperations.UnsafeWrap(ImageCodec.EncodePng(image)),
        };
        Append(step, new Event { Summary = new Summary { Value = { new Summary.Types.Value { Tag = tag, Image = shown } } } });
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => stream.Dispose();

    private void Append(int step, Event message)
    {
        (message.WallTime, message.Step) = (clock().ToUnixTimeMilliseconds() / 1000.0, step);
        DiskFault.Guard(Path, () => TfRecord.Write(stream, message.ToByteArray()));
    }
}
