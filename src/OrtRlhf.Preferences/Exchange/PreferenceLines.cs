using System.Text;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences;

/// <summary>
/// A store as JSON Lines: <c>{"candidate":{...}}</c> and <c>{"choice":{...}}</c>, candidates first, everything in the store's order, so
/// that importing gives the same store again. The files of the
/// candidates lie beside it under the same relative paths.
/// </summary>
public static class PreferenceLines
{
    private const int Batch = 1000;

    private sealed record Line(Candidate? Candidate, Choice? Choice);

    /// <summary>Writes a store.</summary>
    /// <param name="store">The store.</param>
    /// <param name="path">The file; candidates' files are copied beside it, unless it lies in the store's own folder.</param>
    /// <exception cref="UserError">A candidate's file is missing, or the place cannot be written.</exception>
    public static void Write(IPreferenceStore store, string path)
    {
        var candidates = store.Candidates();
        foreach (var candidate in candidates) CopyFiles(store.Folder, FolderOf(path), candidate);
        AtomicFile.Write(path, stream =>
        {
            foreach (var line in candidates.Select(candidate => new Line(candidate, null))
                .Concat(store.Choices().Select(choice => new Line(null, choice))))
            {
                JsonSerializer.Serialize(stream, line, JsonFile.Line);
                stream.WriteByte((byte)'\n');
            }
        });
    }

    /// <summary>
    /// Adds what a file holds, in this form or one of <see cref="PairLayout"/>, to a store; what is there already is left as it is.
    /// </summary>
    /// <param name="store">The store.</param>
    /// <param name="path">The file.</param>
    /// <returns>Candidates and choices that were new.</returns>
    /// <exception cref="UserError">A line is not valid, or an image is missing: names the line. Lines before its thousand are
    /// in.</exception>
    public static (int Candidates, int Choices) Read(IPreferenceStore store, string path)
    {
        if (!File.Exists(path)) throw new UserError($"`Import` '{path}': there is no such file");
        var (folder, total) = (FolderOf(path), (Candidates: 0, Choices: 0));
        foreach (var lines in File.ReadLines(path, Encoding.UTF8).Index().Where(line => line.Item.Trim().Length > 0).Chunk(Batch))
        {
            var (candidates, choices) = (new List<Candidate>(), new List<Choice>());
            foreach (var (number, text) in lines)
            {
                var where = $"{path}, line {number + 1}";
                try
                {
                    using var document = JsonDocument.Parse(text);
                    if (document.RootElement.ValueKind != JsonValueKind.Object) throw new UserError($"{where}: expected a JSON object");
                    if (document.RootElement.TryGetProperty("candidate", out _) || document.RootElement.TryGetProperty("choice",
                        out _)) Take(document.RootElement.Deserialize<Line>(JsonFile.Line)!, where);
                    else PairLayout.Read(document.RootElement, store.Folder, folder, where, number, candidates, choices);
                }
                catch (JsonException fault)
                {
                    throw new UserError($"{where}: not the JSON expected: {fault.Message.ReplaceLineEndings(" ")}", fault);
                }
            }
            total.Candidates += store.Add([.. candidates.Distinct()]);
            total.Choices += store.Add(choices);

            void Take(Line line, string where)
            {
                if (line.Candidate is { } candidate)
                {
                    candidate.Validate();
                    CopyFiles(folder, store.Folder, candidate, where);
                    candidates.Add(candidate);
                }
                if (line.Choice is { } choice) choices.Add(choice);
            }
        }
        return total;
    }

    /// <summary>The folder of a file.</summary>
    internal static PreferenceFolder FolderOf(string path) => new(Path.GetDirectoryName(Path.GetFullPath(path))!);

    /// <summary>Copies a candidate's files where they are not there yet.</summary>
    internal static void CopyFiles(PreferenceFolder from, PreferenceFolder to, Candidate candidate, string? where = null)
    {
        foreach (var file in (string?[])[candidate.Image, candidate.Trajectory])
        {
            if (file is null || File.Exists(to.At(file))) continue;
            if (!File.Exists(from.At(file))) throw new UserError(
                $"{where ?? $"candidate '{candidate.Id}'"}: '{from.At(file)}': there is no such file");
            AtomicFile.Write(to.At(file), DiskFault.Guard(from.At(file), () => File.ReadAllBytes(from.At(file))));
        }
    }
}
