namespace OrtRlhf.Tuning.Epochs;

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
