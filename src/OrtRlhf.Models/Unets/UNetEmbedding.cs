using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>The embedding of timestep, class and size that all residual blocks of a U-Net see.</summary>
internal static class UNetEmbedding
{
    /// <summary>Embedding [B,E] (or [1,E] where one timestep stands for all).</summary>
    public static Value Forward(
        Module m, UNet2DConditionConfig config, ElementType type, Value timestep, Value? textEmbeds, Value? timeIds, Value? timestepCond,
            Value? classLabels)
    {
        var time = Cast(Blocks.Sinusoids(timestep, config.BlockOutChannels[0], config.FlipSinToCos, config.FreqShift), type);
        if (config.TimeCondProjDim is not null)
            time += m["time_embedding"]["cond_proj"]
                .Linear(Required(timestepCond, "timestep_cond"), config.BlockOutChannels[0], bias: false);
        var embedding = Blocks.Mlp(m["time_embedding"], time, config.TimeEmbeddingDim, config.ActFn);
        if (config.TimestepPostAct is { } post) embedding = Activation.Apply(post, embedding);

        if (config.ClassEmbedType is not null)
        {
            var c = ClassEmbedding(m["class_embedding"], config, type, Required(classLabels, "class_labels"));
            embedding = config.ClassEmbeddingsConcat ? Layout.Concat(-1, embedding, c) : embedding + c;
        }
        if (config.TextTime)
        {
            var numbers = Required(timeIds, "time_ids");
            var sizes = Cast(Blocks.Sinusoids(numbers, config.AdditionTimeEmbedDim, config.FlipSinToCos, config.FreqShift), type);
            var flat = sizes.Reshape(0, numbers.Shape![1].Size * config.AdditionTimeEmbedDim);
            embedding += Blocks.Mlp(m["add_embedding"], Layout.Concat(-1, Required(textEmbeds, "text_embeds"), flat),
                config.TimeEmbeddingDim, "silu");
        }
        return config.TimeEmbeddingActFn is { } act ? Activation.Apply(act, embedding) : embedding;
    }

    private static Value ClassEmbedding(Module m, UNet2DConditionConfig config, ElementType type, Value labels) =>
        config.ClassEmbedType switch
        {
            "embedding" => m.Embedding(labels, config.NumClassEmbeds, config.TimeEmbeddingDim),
            "timestep" => Blocks.Mlp(m, Cast(Blocks.Sinusoids(labels, config.BlockOutChannels[0], config.FlipSinToCos, config.FreqShift),
                type), config.TimeEmbeddingDim, config.ActFn),
            "projection" => Blocks.Mlp(m, labels, config.TimeEmbeddingDim, "silu"),
            "simple_projection" => m.Linear(labels, config.TimeEmbeddingDim),
            _ => labels,
        };

    private static Value Required(Value? input, string name) =>
        input ?? throw new UserError($"{UNet2DConditionConfig.ClassName}: expected the input {name}, which config.json asks for, got none");
}
