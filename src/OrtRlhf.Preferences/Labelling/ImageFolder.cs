using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>
/// Images with captions as others keep them: a folder with <c>metadata.jsonl</c> or <c>captions.jsonl</c>, one JSON object a line with
/// <c>file_name</c> (or <c>image</c>) and <c>text</c>
/// (or <c>caption</c>, <c>prompt</c>), as Hugging Face's imagefolder has it. <c>source</c> and <c>seed</c> are kept where given.
/// </summary>
public static class ImageFolder
{
    private static readonly string[] Lists = ["metadata.jsonl", "captions.jsonl"], Names = ["file_name", "image"],
        Captions = ["text", "caption", "prompt"];

    /// <summary>Copies the images into a store. What was brought in before is known again and not copied twice.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="store">The store.</param>
    /// <param name="progress">Told how many images are done.</param>
    /// <param name="cancellation">Stops between images.</param>
    /// <returns>How many were new.</returns>
    /// <exception cref="UserError">No list, a line without image and caption, a path outside the folder, or a file that is no image: names
    /// the line.</exception>
    public static int AddTo(IPreferenceStore store, string folder, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        if (!Directory.Exists(folder)) throw new UserError($"`Images` '{folder}': there is no such folder");
        var list = Lists.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw new UserError($"`Images` '{folder}': expected {string.Join(" or ", Lists)} in it, lines such as {{\"file_name\": "
                + $"\"1.png\", \"text\": \"a red circle\"}}");
        var candidates = new List<Candidate>();
        foreach (var (number, line) in File.ReadLines(list, Encoding.UTF8).Index().Where(line => line.Item.Trim().Length > 0))
        {
            cancellation.ThrowIfCancellationRequested();
            candidates.Add(Copy(store.Folder, new PreferenceFolder(folder), line, $"{list}, line {number + 1}"));
            progress?.Invoke(candidates.Count);
        }
        return store.Add([.. candidates.DistinctBy(candidate => candidate.Id)]);
    }

    /// <summary>Copies an image file into a store's folder, checked to be an image; its id comes of its prompt and bytes.</summary>
    /// <param name="store">The store's folder.</param>
    /// <param name="path">The file.</param>
    /// <param name="prompt">Its prompt.</param>
    /// <param name="where">How errors name the place.</param>
    /// <exception cref="UserError">It cannot be read, or is no JPEG, PNG or WebP.</exception>
    public static Candidate Copy(PreferenceFolder store, string path, string prompt, string where)
    {
        if (!File.Exists(path)) throw new UserError($"{where}: image '{path}': there is no such file");
        var bytes = DiskFault.Guard(path, () => File.ReadAllBytes(path));
        ImageCodec.Decode(bytes, $"{where}: {path}");
        var ending = bytes is [0x89, ..] ? "png" : bytes is [0xFF, ..] ? "jpg" : "webp";
        var id = "i" + Convert.ToHexStringLower(SHA256.HashData([.. Encoding.UTF8.GetBytes(prompt), 0, .. bytes]))[..31];
        var candidate = new Candidate(id, prompt, $"images/{id}.{ending}");
        candidate.Validate();
        if (!File.Exists(store.At(candidate.Image))) AtomicFile.Write(store.At(candidate.Image), bytes);
        return candidate;
    }

    private static Candidate Copy(PreferenceFolder store, PreferenceFolder folder, string line, string where)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            var (file, caption) = (Text(document.RootElement, Names), Text(document.RootElement, Captions));
            if (file is null || caption is null) throw new UserError($"{where}: expected \"file_name\" and \"text\"");
            if (!PreferenceFolder.IsInside(file)) throw new UserError($"{where}: image '{file}': expected a path inside the folder");
            return Copy(store, folder.At(file), caption, where) with
            {
                Source = Text(document.RootElement, ["source"]),
                Seed = document.RootElement.TryGetProperty("seed", out var seed) && seed.TryGetInt64(out var number) ? number : null,
            };
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException)
        {
            throw new UserError($"{where}: expected a JSON object such as {{\"file_name\": \"1.png\", \"text\": \"a red circle\"}}", fault);
        }
    }

    private static string? Text(JsonElement element, string[] names)
    {
        foreach (var name in names)
            if (element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String) return value.GetString();
        return null;
    }
}
