using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Clip;

public class ClipTextTests
{
    [Fact]
    public void TextEncoder_MatchesReference()
    {
        var golden = Golden.Tensors("sd1-tiny/golden.safetensors");
        var config = ClipTextConfig.Parse(Golden.Text("sd1-tiny/text_encoder/config.json"));
        var weights = Golden.WeightsOf("sd1-tiny/text_encoder/model.safetensors");
        var open = Ort.Run(ClipTextModel.Build(config, weights, hiddenStates: true, sequence: "sequence"),
            ("input_ids", golden["text.input_ids"]));
        Golden.Close(open["last_hidden_state"], golden["text.last_hidden_state"]);
        Golden.Close(open["pooler_output"], golden["text.pooler_output"]);
        for (var i = 0; i <= config.NumHiddenLayers; i++) Golden.Close(open[$"hidden_states.{i}"], golden[$"text.hidden_states.{i}"]);

        var frozen = Ort.Run(ClipTextModel.Build(config, weights, batch: 1), ("input_ids", golden["text.uncond_input_ids"]));
        Golden.Close(frozen["last_hidden_state"], golden["text.uncond_last_hidden_state"]);
    }
}
