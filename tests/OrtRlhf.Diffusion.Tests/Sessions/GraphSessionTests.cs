using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Diffusion.Tests.Sessions;

public class GraphSessionTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Share_TwoAtATime_EachHasItsOwnParametersAndOutputs(bool lowMemory)
    {
        var graph = new OnnxGraph("product");
        var x = graph.Input("x", ElementType.Float, "batch", 256);
        var p = graph.Parameter("p", Tensor.Of(new float[256], 256));
        graph.Output(Mean(MatMul(x * p, graph.Constant(Tensor.Of([.. Enumerable.Range(0, 256 * 256).Select(i => i % 7f)], 256, 256)))),
            "p_sum");
        using var twos = Filled(2);
        using var threes = Filled(3);
        using var sums = new ParameterBuffer(("p", []));
        var first = new GraphSession(graph, OneThread with { LowMemory = lowMemory }).Bind(twos);
        using var second = first.Share().Bind(threes).BindOutputs(sums, "_sum");
        using var rows = Enumerable.Repeat(1f, 64 * 256).ToArray().ToOrt(64, 256);
        var other = Task.Run(() => { for (var i = 0; i < 50; i++) second.Run(("x", rows)); });
        var each = Enumerable.Range(0, 50).Select(_ => first.Run(("x", rows))["p_sum"][0]).Distinct().ToArray();
        await other;
        Assert.Equal(1.5, sums["p"][0] / Assert.Single(each), 1e-6);

        first.Dispose();
        sums.All.Clear();
        second.Run(("x", rows));
        Assert.Equal(1.5, sums["p"][0] / each[0], 1e-6);

        static ParameterBuffer Filled(float number)
        {
            var buffer = new ParameterBuffer(("p", [256]));
            buffer.All.Fill(number);
            return buffer;
        }
    }

    [Theory]
    [InlineData(1, 2, 0, "cpu", false, 1, 2)] // one row: all threads for it
    [InlineData(16, 2, 0, "cpu", false, 2, 1)]
    [InlineData(3, 4, 0, "cpu", false, 3, 1)] // small: a worker a row
    [InlineData(16, 4, 2, "cpu", false, 2, 2)]
    [InlineData(16, 4, 0, "cuda", false, 1, 4)]
    [InlineData(16, 4, 0, "cpu", true, 1, 4)]
    public void Split_Rows_GivesWorkersTheirThreads(int rows, int threads, int workers, string device, bool lowMemory, int expected,
        int each)
    {
        var split = new SessionSettings { Threads = threads, Workers = workers, Device = device, LowMemory = lowMemory }
            .Split(new OnnxGraph("small"), rows);
        Assert.Equal((expected, each), (split.Count, split.Each.Threads));
    }

    [Theory]
    [InlineData(3, 1)] // a copy of the weights for each would be too much
    [InlineData(4, 4)]
    public void Split_LargeModel_HasWorkersOnlyOfOneThreadEach(int rows, int expected)
    {
        var graph = new OnnxGraph("large");
        graph.Constant(new Tensor(ElementType.Float, [17 << 20], () => throw new InvalidOperationException("read")));
        Assert.Equal(expected, new SessionSettings { Threads = 4 }.Split(graph, rows).Count);
    }
}
