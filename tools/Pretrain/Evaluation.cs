using OrtRlhf.Graph;

namespace OrtRlhf.Pretrain;

/// <summary>How good the whole model is.</summary>
internal static class Evaluation
{
    public static int Run(EvaluateOptions o) => throw new UserError("evaluate: needs the model loader");
}
