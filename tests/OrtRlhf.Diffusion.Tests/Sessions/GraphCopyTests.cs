using System.Runtime.CompilerServices;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Diffusion.Tests.Sessions;

public class GraphCopyTests
{
    [Theory]
    [InlineData(false, 1, false, Precision.Fp32)]
    [InlineData(false, 2, true, Precision.Fp32)]
    [InlineData(true, 1, false, Precision.Fp32)]
    [InlineData(true, 1, false, Precision.Fp16)]
    public void Session_LeavesItsGraphAsItIs(bool training, int threads, bool lowMemory, Precision dtype)
    {
        using var folder = new TempFolder();
        using var policy = Policy.Create(ImageModel.Open(TinyModel.Write(folder.At("tiny")), new() { Dtype = dtype }), new LoraOptions(),
            seed: 1);
        var graph = training
            ? policy.TrainingGraphOf(2, guidanceScale: 3, withReference: true, o =>
                new(Mean(Square(o.Output - o.Reference!)), new Dictionary<string, Value>()), new GradientOptions())
            : policy.Denoiser("batch").Graph;
        Assert.Contains(graph.Nodes, node => node.Domain == OnnxGraph.CompositeDomain); // what every session must lower
        var before = Written(graph);
        using var session = new GraphSession(graph, new SessionSettings { Threads = threads, LowMemory = lowMemory });
        Assert.Equal(before, Written(graph));
        Assert.Equal(graph.Outputs.Select(output => output.Name), session.Outputs);
        Assert.Equal(before, Written(graph.Copy()));
        Assert.All(graph.Copy().Nodes.SelectMany(node => node.Inputs.Concat(node.Outputs)), value => Assert.NotSame(graph, value?.Graph));
    }

    [Fact]
    public void Keep_PutsBackWhatWasThere_AfterAFault_Too()
    {
        using var buffer = new ParameterBuffer(("p", [3]));
        buffer.All.Fill(2);
        Assert.Throws<InvalidOperationException>(Faulty);
        Assert.Equal([2f, 2f, 2f], buffer["p"].ToArray());

        void Faulty()
        {
            using var kept = buffer.Keep();
            buffer.All.Clear();
            Assert.Equal(2, kept.Values[0]);
            throw new InvalidOperationException();
        }
    }

    // All that is in a graph, in its order; data by identity.
    private static string[] Written(OnnxGraph graph) =>
    [
        $"{graph.Name} {graph.Opset} {string.Join(",", graph.Metadata)}",
        string.Join(",", graph.Inputs.Select(value => value.Name)), string.Join(",", graph.Outputs.Select(value => value.Name)),
        .. graph.Nodes.Select(node => $"{node} {string.Join(",", node.Inputs.Select(value => value?.Name))} -> "
            + $"{string.Join(",", node.Outputs.Select(value => value?.Name))} "
            + string.Join(",", node.Attributes.Select(a =>
                $"{a.Key}={(a.Value is System.Collections.IEnumerable list and not string ? string.Join(" ", list.Cast<object>()) : a.Value)}"))),
        .. graph.Values.Values.OrderBy(value => value.Name, StringComparer.Ordinal).Select(value =>
            $"{value} {value.IsInput} {value.Producer} {(value.Data is null ? 0 : RuntimeHelpers.GetHashCode(value.Data))}"),
    ];
}
