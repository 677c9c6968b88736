using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>
/// The denoiser with classifier-free guidance, <c>m = u + g (c - u)</c>: one run of 2B, the first B without a prompt (u), the others with
/// it (c).
/// With g = 1 a run of B. Its adapters are the tensors of a buffer that may change between runs.
/// </summary>
public sealed class GuidedDenoiser : IDisposable
{
    private readonly GraphSession _session;
    private readonly TextEmbeddings _text;
    private readonly LatentSize _latent;
    private readonly double _guidance;
    private Batch? _batch;

    /// <summary>Loads a denoiser whose graph has the adapters' inputs.</summary>
    /// <param name="graph">The graph, see <see cref="ImageModel.Denoiser"/>, of any batch size.</param>
    /// <param name="adapters">Tensors to bind; null for those of the graph.</param>
    /// <param name="latent">Sizes of a latent.</param>
    /// <param name="text">Embeddings of the prompts.</param>
    /// <param name="guidanceScale">g.</param>
    /// <param name="settings">Device and threads.</param>
    public GuidedDenoiser(OnnxGraph graph, ParameterBuffer? adapters, LatentSize latent, TextEmbeddings text, double guidanceScale,
        SessionSettings settings)
        : this(new GraphSession(graph, settings), adapters, latent, text, guidanceScale)
    {
    }

    /// <summary>Takes a denoiser that is loaded, and disposes it.</summary>
    internal GuidedDenoiser(GraphSession session, ParameterBuffer? adapters, LatentSize latent, TextEmbeddings text, double guidanceScale)
    {
        (_session, _text, _latent, _guidance) = (session, text, latent, guidanceScale);
        if (adapters is not null) _session.Bind(adapters);
    }

    /// <summary>Embeddings to take at each run in place of those it was made with, for a policy that is the base model at times.</summary>
    internal Func<TextEmbeddings>? TextNow { get; init; }

    /// <summary>Whether each run does 2B.</summary>
    public bool IsGuided => _guidance != 1;

    /// <summary>The guided output at latents of any timesteps.</summary>
    /// <param name="x">Latents [B,C,H,W].</param>
    /// <param name="timesteps">Where the model is evaluated [B], as in <see cref="Learning.Schedulers.GaussianStep.Time"/>.</param>
    /// <param name="prompts">Prompt of each [B].</param>
    /// <param name="m">Receives the outputs [B,C,H,W].</param>
    public void Run(ReadOnlySpan<float> x, ReadOnlySpan<double> timesteps, IReadOnlyList<string> prompts, Span<float> m)
    {
        var count = prompts.Count;
        if (_batch is null || _batch.Count != count)
        {
            _batch?.Dispose();
            _batch = new Batch(count, IsGuided, _latent, _text);
        }
        _batch.Fill(x, timesteps, prompts, TextNow?.Invoke() ?? _text);
        var output = _session.Run(_batch.Inputs)["out_sample"];
        if (!IsGuided)
        {
            output.CopyTo(m);
            return;
        }
        var u = output.AsSpan(0, x.Length);
        var c = output.AsSpan(x.Length);
        TensorPrimitives.Subtract(c, u, m);
        TensorPrimitives.MultiplyAdd(m, (float)_guidance, u, m);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _batch?.Dispose();
        _session.Dispose();
    }

    /// <summary>The input tensors of one batch size, kept from run to run.</summary>
    internal sealed class Batch : IDisposable
    {
        private readonly float[] _x;
        private readonly long[] _index;
        private readonly float[] _time;
        private readonly float[][] _fields;
        private readonly bool _guided;
        private readonly float[]?[] _rows; // what each row has, by the first of its fields

        public Batch(int count, bool guided, LatentSize latent, TextEmbeddings text)
        {
            var rows = guided ? 2 * count : count;
            (Count, _guided, _rows) = (count, guided, new float[]?[rows]);
            var isFlow = text.Model.Flow is not null;
            (_x, _index, _time) = (new float[rows * latent.Count], new long[isFlow ? 0 : rows], new float[isFlow ? rows : 0]);
            _fields = [.. text.Fields.Select(field => new float[rows * field.Shape.Aggregate(1L, (a, b) => a * b)])];
            Inputs =
            [
                ("sample", _x.ToOrt(rows, latent.Channels, latent.Height, latent.Width)),
                    ("timestep", isFlow ? _time.ToOrt(rows) : _index.ToOrt(rows)),
                .. text.Fields.Zip(_fields, (field, data) => (field.Input, data.ToOrt([rows, .. field.Shape]))),
            ];
        }

        public int Count { get; }

        public (string Name, OrtValue Value)[] Inputs { get; }

        public void Fill(ReadOnlySpan<float> x, ReadOnlySpan<double> timesteps, IReadOnlyList<string> prompts, TextEmbeddings text)
        {
            var first = _guided ? Count : 0;
            x.CopyTo(_x);
            if (_guided) x.CopyTo(_x.AsSpan(x.Length));
            for (var i = 0; i < _index.Length; i++) _index[i] = (long)timesteps[i % Count];
            for (var i = 0; i < _time.Length; i++) _time[i] = (float)timesteps[i % Count];
            for (var i = 0; i < Count && _fields.Length > 0; i++)
            {
                if (_guided) SetRow(i, text.Without);
                SetRow(first + i, text.Of(prompts[i]));
            }
        }

        public void Dispose()
        {
            foreach (var (_, value) in Inputs) value.Dispose();
        }

        private void SetRow(int row, float[][] fields)
        {
            if (_rows[row] == fields[0]) return;
            _rows[row] = fields[0];
            foreach (var (data, values) in _fields.Zip(fields)) values.CopyTo(data, row * values.Length);
        }
    }
}
