using OrtRlhf.Learning;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>An epoch's images split at random into parts, an optimizer step each, as many times over as there are passes.</summary>
internal static class UpdateParts
{
    /// <summary>The parts in their order: number, how many there are, and the images.</summary>
    public static IEnumerable<(int Part, int Of, int[] Chosen)> Of(TuningOptions options, int epoch, int images)
    {
        for (var pass = 0; pass < options.Passes; pass++)
        {
            var order = Enumerable.Range(0, images).ToArray();
            new Philox(options.Seed, (uint)epoch, (uint)pass, RandomStep.Shuffle).Shuffle<int>(order);
            for (var part = 0; part < options.UpdatesPerPass; part++)
                yield return ((pass * options.UpdatesPerPass) + part, options.UpdatesPerEpoch, order[(order.Length * part / options.UpdatesPerPass)..(order.Length * (part + 1) / options.UpdatesPerPass)]);
        }
    }
}

/// <summary>Images of an epoch that share a prompt.</summary>
internal static class Groups
{
    /// <summary>The number of each image's group.</summary>
    public static int[] Of(Collected collected)
    {
        var numbers = collected.Images.Select(i => i.Prompt).Distinct().Select((prompt, i) => (prompt, i)).ToDictionary();
        return Array.ConvertAll(collected.Images, image => numbers[image.Prompt]);
    }

    /// <summary>Share of the groups whose rewards are all equal: they carry no signal.</summary>
    public static double ZeroSpread(Collected collected)
    {
        var groups = Of(collected).Zip(collected.Scores.Total).GroupBy(entry => entry.First, entry => entry.Second).ToArray();
        return (double)groups.Count(group => group.Distinct().Count() == 1) / groups.Length;
    }
}
