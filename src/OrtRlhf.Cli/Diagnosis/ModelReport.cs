using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>Whether the shipped model is there and loads.</summary>
/// <param name="Folder">Its folder; null when it was not found.</param>
/// <param name="Works">Whether all its parts loaded.</param>
/// <param name="Detail">What it is, or what failed.</param>
internal sealed record ModelReport(string? Folder, bool Works, string Detail)
{
    /// <summary>Looks for the shipped model, loads it and draws an image in two steps.</summary>
    public static ModelReport Check()
    {
        string? folder = null;
        try
        {
            folder = ModelFolder.Find(null);
            using var policy = Policy.OfBase(ImageModel.Open(folder));
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 2, BatchSize = 1 }, new SessionSettings());
            var image = pipeline.Sample([new SampleRequest("a red circle", 0, 0, 0)])[0].Image;
            return new(folder, true, $"{folder} drew an image of {image.Width}x{image.Height}");
        }
        catch (UserError error)
        {
            return new(folder, false, error.Message);
        }
    }
}
