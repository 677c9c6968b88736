using CommandLine;
using OrtRlhf.Graph;
using OrtRlhf.Pretrain;

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stop.Cancel();
};
try
{
    return Parser.Default.ParseArguments<AutoencoderOptions, TextOptions, DenoiserOptions, FlowOptions, ClipOptions, ReconstructOptions, EvaluateOptions, EvaluateClipOptions>(args).MapResult(
        (AutoencoderOptions o) => AutoencoderTraining.Run(o, stop.Token),
        (TextOptions o) => TextTraining.Run(o, stop.Token),
        (DenoiserOptions o) => DenoiserTraining.Run(o, new ShapesDenoiser(), stop.Token),
        (FlowOptions o) => DenoiserTraining.Run(o, new ShapesFlow(), stop.Token),
        (ClipOptions o) => ClipTraining.Run(o, stop.Token),
        (ReconstructOptions o) => Reconstruction.Run(o),
        (EvaluateOptions o) => Evaluation.Run(o),
        (EvaluateClipOptions o) => ClipEvaluation.Run(o),
        _ => 2);
}
catch (UserError e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 1;
}
