using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Tuning.Tests.Rewards;

public sealed class VisionRewardTests
{
    private const string Options = "#model=tiny#pause=0.01#timeout=20";

    [Fact]
    public void Score_LogProbabilities_AreTheShareOfYes()
    {
        JsonElement? asked = null;
        // Yes in two spellings 0.5 + 0.1, no 0.2, something else 0.1.
        using var service = new TestService((_, body) =>
        {
            asked = body.Clone();
            return (200, $$"""
                {"choices":[{"message":{"content":"Yes"},"logprobs":{"content":[{"token":"Yes","logprob":-0.7,"top_logprobs":[
                  {"token":"Yes","logprob":{{Math.Log(0.5):R}} },{"token":" yes","logprob":{{Math.Log(0.1):R}} },{"token":"No","logprob":{{Math.Log(0.2):R}} },{"token":"It","logprob":{{Math.Log(0.1):R}} }]}]} }]}
                """);
        });
        Assert.Equal(0.75f,
            HttpRewardTests.Parse($"vision:{service.Url}v1{Options}#key=ORTRLHF_TEST_NO_KEY").Score(HttpRewardTests.Inputs(1))[0], 1e-6f);
        Assert.Equal("/v1/chat/completions", service.Last.Path);
        var content = asked!.Value.GetProperty("messages")[0].GetProperty("content");
        Assert.Equal("tiny", asked.Value.GetProperty("model").GetString());
        Assert.True(asked.Value.GetProperty("logprobs").GetBoolean());
        Assert.Equal((10, 8, 0), (asked.Value.GetProperty("top_logprobs").GetInt32(), asked.Value.GetProperty("max_tokens").GetInt32(),
            asked.Value.GetProperty("temperature").GetInt32()));
        Assert.False(asked.Value.TryGetProperty("max_completion_tokens", out JsonElement _));
        Assert.Null(service.Last.Authorization);
        Assert.Equal("Does this image show \"x\"? Answer with yes or no.", content[0].GetProperty("text").GetString());
        var url = content[1].GetProperty("image_url").GetProperty("url").GetString()!;
        Assert.StartsWith("data:image/png;base64,", url);
        Assert.Equal(4, ImageCodec.Decode(Convert.FromBase64String(url.Split(',')[1])).Width);
    }

    [Theory]
    [InlineData("Yes, it does.", 1)]
    [InlineData("\\n **No**", 0)]
    public void Score_NoLogProbabilities_ReadsTheFirstWord(string text, float expected)
    {
        using var service = new TestService((_, body) => body.TryGetProperty("logprobs", out JsonElement _) ? (400, "no logprobs")
            : (200, $"{{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}},\"logprobs\":null}}]}}"));
        Assert.Equal([expected, expected, expected], HttpRewardTests.Parse(
            $"vision:\"{service.Url}{Options}#logprobs=off#question=Is {{prompt}} there?\"").Score(HttpRewardTests.Inputs(3)));
        Assert.Contains("answered 400 Bad Request, 'no logprobs'", HttpRewardTests.Fails($"vision:{service.Url}{Options}"));
    }

    [Theory]
    [InlineData("{\"choices\":[{\"message\":{\"content\":\"Perhaps\"}}]}", "expected yes or no, got 'Perhaps'")]
    [InlineData("{\"choices\":[]}", "got '{\"choices\":[]}'")]
    [InlineData("{\"error\":\"overloaded\"}", "got '{\"error\":\"overloaded\"}'")]
    [InlineData("<html>", "not JSON")]
    public void Score_OddAnswers_AreOneLine(string body, string expected)
    {
        using var service = new TestService((_, _) => (200, body));
        Assert.Contains(expected, HttpRewardTests.Fails($"vision:{service.Url}{Options}"));
    }

    [Fact]
    public void Score_Key_IsSent()
    {
        const string variable = "ORTRLHF_TEST_VISION_KEY";
        Environment.SetEnvironmentVariable(variable, "secret");
        using var service = new TestService((_, _) => (200, "{\"choices\":[{\"message\":{\"content\":\"no\"}}]}"));
        HttpRewardTests.Parse($"vision:{service.Url}{Options}#key={variable}").Score(HttpRewardTests.Inputs(1));
        Assert.Equal("Bearer secret", service.Last.Authorization);
    }

    [Fact]
    public void Score_FailuresThatPass_AreTriedAgain_AndHangsGivenUp()
    {
        using var service = new TestService((number, _) => number switch
        {
            0 => (500, ""),
            1 => null,
            _ => (200, "{\"choices\":[{\"message\":{\"content\":\"yes\"}}]}"),
        });
        Assert.Equal([1], HttpRewardTests.Parse($"vision:{service.Url}v1/chat/completions#model=tiny#pause=0.01#timeout=0.5")
            .Score(HttpRewardTests.Inputs(1)));
        Assert.Equal((3, "/v1/chat/completions"), (service.Requests, service.Last.Path));
        using var dead = new TestService((_, _) => (500, "out of memory"));
        Assert.Contains("answered 500 Internal Server Error, 'out of memory' (3 tries)",
            HttpRewardTests.Fails($"vision:{dead.Url}{Options}#retries=2#parallel=1"));
    }

    [Fact]
    public void Parse_Faults_AreNamed()
    {
        Assert.Contains("which model?", Assert.Throws<UserError>(() => HttpRewardTests.Parse("vision:http://127.0.0.1/v1")).Message);
        Assert.Contains("#timeout: expected a number above 0",
            Assert.Throws<UserError>(() => HttpRewardTests.Parse("vision:http://127.0.0.1/v1#model=x#timeout=0")).Message);
    }
}
