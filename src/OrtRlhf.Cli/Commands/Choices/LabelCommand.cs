using System.Net;
using System.Security.Cryptography;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Preferences;
using OrtRlhf.Preferences.Labelling;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Prompts;
using OrtRlhf.Web;

namespace OrtRlhf.Cli.Commands;

/// <summary>Serves the page on which people choose.</summary>
[Verb("label", HelpText = "Serves a page on which people choose between images: pairs, the best of several, or a ranking. A model draws "
    + "them ahead in the background, "
    + "or they come from a folder. Every choice is on the disk before the page says so; start it again and it goes on where it was. "
        + "Ctrl-C ends it; 'ortrlhf preferences' says what was chosen.")]
[Example("pairs of the model that ships", "label")]
[Example("the next round: what a run has learned from the choices of the last one, into the same store",
    "label --adapter artifacts/runs/round1/adapter/adapter.safetensors")]
[Example("the best of four, your prompts", "label --prompts prompts.txt --mode best --candidates 4")]
[Example("images of a folder with metadata.jsonl, each pair judged by two raters",
    "label --images photos --store photos/choices --overlap 2")]
[Example("for a team on the network; prints a link with a token", "label --host 0.0.0.0 --overlap 3")]
[Example("a team's server for the choices", "label --store \"postgresql://ada:secret@db/preferences#images=/srv/images\" --count 0")]
internal sealed class LabelCommand : ModelCommand
{
    private const string Page = "Page";
    private const int Ahead = 64;

    [Option('s', "store", MetaValue = "PLACE",
        HelpText = "Where candidates and choices are kept: a folder, or postgresql://...#images=FOLDER. Default artifacts/preferences.")]
    public string Store { get; set; } = PreferencesCommand.DefaultStore;

    [Option("model", MetaValue = "FOLDER", HelpText = "The same as MODEL.")]
    public string? ModelName { get; set; }

    [Option("adapter", MetaValue = "FILE", HelpText = "Adapter to draw with, .onnx_adapter or .safetensors. One in a run's folder brings "
        + "the run's model and sampling settings as defaults.")]
    public string? Adapter { get; set; }

    [Option("prompts", MetaValue = "FILE", HelpText = "Prompt file, one prompt or template a line. Default captions of drawn scenes.")]
    public string? Prompts { get; set; }

    [Option("count", MetaValue = "N", HelpText = "Questions to draw for, those that the store has of this model and adapter among them; "
        + "0 draws nothing and asks about all that the store has. Default 200; with --images 0.")]
    public int? Count { get; set; }

    [Option("seed", MetaValue = "N", HelpText = "Seed of the first image; the next one has the next seed. Default 0.")]
    public ulong Seed { get; set; }

    [Option("images", MetaValue = "DIR", HelpText = "Take images from a folder into the store: its metadata.jsonl has lines such as "
        + "{\"file_name\": \"1.png\", \"text\": \"a red circle\"}.")]
    public string? Images { get; set; }

    [Section(Page), Option("mode", MetaValue = "NAME", HelpText = "pair; best, of several; or rank, all of them. Default pair.")]
    public string? Mode { get; set; }

    [Section(Page), Option("candidates", MetaValue = "K", HelpText = "Images of a question. Default 2 for pairs, else 4.")]
    public int? Candidates { get; set; }

    [Section(Page), Option("question", MetaValue = "TEXT", HelpText = "What the page asks. Default which picture is better.")]
    public string? Question { get; set; }

    [Section(Page), Option("aspect", MetaValue = "NAME", HelpText = "Stored with each choice, to keep several questions about the same "
        + "images apart: quality, compatibility, taste. Default none.")]
    public string? Aspect { get; set; }

    [Section(Page), Option("overlap", MetaValue = "N",
        HelpText = "How many raters answer each question; 2 or more tell their agreement. Default 1.")]
    public int Overlap { get; set; } = 1;

    [Section(Page), Option("check-every", MetaValue = "N",
        HelpText = "An attention check after about so many questions, a picture against one spoiled on purpose; 0 for none. Default 20.")]
    public int CheckEvery { get; set; } = 20;

    [Section(Page), Option("port", MetaValue = "N", HelpText = "Port; 0 takes a free one. Default 5070.")]
    public int Port { get; set; } = 5070;

    [Section(Page), Option("host", MetaValue = "ADDRESS",
        HelpText = "Address to listen on; 0.0.0.0 for all of the machine's. Others than loopback ask for a token. Default 127.0.0.1.")]
    public string Host { get; set; } = "127.0.0.1";

    [Section(Page), Option("token", MetaValue = "TEXT",
        HelpText = "What browsers must know, at least 16 characters. Default none on loopback, else one made anew each time.")]
    public string? Token { get; set; }

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        var mode = EnumName.Of<ChoiceMode>("mode", Mode) ?? ChoiceMode.Pair;
        var source = AdaptedModel.Find(Adapter);
        var (sampling, session) = (ToTrainedSampling(Model ?? ModelName, source), ToSession());
        // As d3po samples: only steps that are not clamped can be trained on.
        sampling = sampling with { ClipSample = sampling.ClipSample ?? false };
        // A core is left to those who label.
        if (session.Threads == 0) session = session with { Threads = Math.Max(1, Environment.ProcessorCount - 1) };
        var count = Count ?? (Images is null ? 200 : 0);
        var name = Adapter is null ? Model ?? ModelName ?? ModelFolder.Default
            : $"{Model ?? ModelName ?? source.Options.Model} with {Adapter}";
        if (name.Length > Candidate.LongestName) name = "..." + name[^(Candidate.LongestName - 3)..];
        var options = new LabelOptions
        {
            Mode = mode,
            Candidates = Candidates ?? (mode == ChoiceMode.Pair ? 2 : 4),
            Overlap = Overlap,
            CheckEvery = CheckEvery,
            Aspect = Aspect,
            Source = count == 0 ? null : name
        };
        Require("label", sampling, session, [.. options.Faults(), .. PageFaults(count)]);
        if (Model is not null && ModelName is not null) throw new UsageError("label: --model and MODEL are the same; give one");
        var address = Address();
        var token = Token ?? (IPAddress.IsLoopback(address) ? null : Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        var prompts = Prompts is null ? null : PromptList.Read(Prompts);

        if (!PreferenceStore.IsServer(Store)) OutputPlace.RequireFolder("store", Store);
        using var store = PreferenceStore.Open(Store, create: true);
        if (Images is not null) Terminal.Line($"{ImageFolder.AddTo(store, Images, cancellation: cancellation)} new images from {Images}");
        using var queue = new LabelQueue(store, options);
        if (queue.Resting > 0) Terminal.Line($"{queue.Resting} open questions of other models or adapters rest; --count 0 asks them");
        Policy? policy = null;
        Func<Pipeline>? open = count == 0 ? null : () =>
            new Pipeline(policy = source.Open(Model ?? ModelName, ToModel(source.Options.ModelOptions)), sampling, session);
        try
        {
            using var maker = new CandidateMaker(store, queue, open, count == 0 ? null
                : new(n => Prompt(policy!, prompts, n), Seed, count, Ahead, name));
            Serve(queue, store, maker, new(address, Port, token, Question ?? AskOf(mode)), cancellation).GetAwaiter().GetResult();
        }
        finally
        {
            policy?.Dispose();
        }
        return ExitCode.Done;
    }

    private async Task Serve(LabelQueue queue, IPreferenceStore store, CandidateMaker maker, LabelServerOptions options,
        CancellationToken cancellation)
    {
        await using var server = await LabelServer.Start(queue, store.Folder, options);
        var host = IPAddress.IsLoopback(options.Address) ? "localhost" : options.Address.Equals(IPAddress.Any)
            || options.Address.Equals(IPAddress.IPv6Any) ? Dns.GetHostName() : options.Address.ToString();
        Terminal.Line(
            $"label at http://{(host.Contains(':') ? $"[{host}]" : host)}:{server.Port}/{(options.Token is null ? "" : $"?token={options.Token}")}");
        Terminal.Line(
            $"choices go to {(PreferenceStore.IsServer(Store) ? "the PostgreSQL server, images to " + store.Folder.Root : Store)}; "
            + $"Ctrl-C ends");
        for (var (shown, fault) = ("", false); ;)
        {
            try
            {
                await Task.Delay(500, cancellation);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            if (maker.Ready.IsFaulted) await maker.Ready; // a model that cannot be loaded ends all
            if (maker.Fault is { } failure && !fault)
            {
                fault = true;
                Console.Error.WriteLine(
                    $"label: no more images are drawn: {(failure is UserError ? failure.Message : failure.ToString())}");
            }
            var line = $"{queue.Saved} choices, {queue.ActiveRaters} raters here, {queue.Questions} "
                + $"questions{(queue.IsGrowing ? ", drawing more" : "")}";
            if (Terminal.IsLive && line != shown) Console.Out.Write($"\r{shown = line}   ");
        }
        Terminal.Line($"{(Terminal.IsLive ? "\n" : "")}{queue.Saved} choices are saved; 'ortrlhf "
            + $"preferences{(Store == PreferencesCommand.DefaultStore ? "" : " STORE")}' says what was chosen");
    }

    private string Prompt(Policy policy, PromptList? prompts, uint number)
    {
        if (!policy.Model.IsConditional) return prompts is null ? ""
            : throw new UserError($"label: model '{policy.Model.Name}' draws without prompts; leave --prompts out");
        // Each prompt of a file in turn; scenes are far more than anyone labels.
        return prompts is null ? Scenes.Draw(Seed, 0, number) : prompts.Prompts[(int)(number % (uint)prompts.Prompts.Count)];
    }

    private static PromptPool Scenes { get; } = PromptPool.Scenes(Enum.GetValues<SceneKind>());

    private IEnumerable<string> PageFaults(int count)
    {
        if (count is < 0 or > 100_000) yield return $"--count: expected 0 to 100000, got {count}";
        if (Port is < 0 or > 65_535) yield return $"--port: expected 0 to 65535, got {Port}";
        if (Question is { Length: 0 or > 300 }) yield return $"--question: expected 1 to 300 characters, got {Question.Length}";
        if (Token is { Length: < 16 or > 200 }
            || Token?.All(char.IsAsciiLetterOrDigit) == false) yield return "--token: expected 16 to 200 letters and digits";
    }

    private IPAddress Address() =>
        Host == "localhost" ? IPAddress.Loopback : IPAddress.TryParse(Host, out var address) ? address
            : throw new UsageError($"--host: expected an address such as 127.0.0.1 or 0.0.0.0, got '{Host}'");

    private static string AskOf(ChoiceMode mode) => mode switch
    {
        ChoiceMode.Rank => "Rank the pictures, the best first.",
        ChoiceMode.Best => "Which picture is the best?",
        _ => "Which picture is better?",
    };
}
