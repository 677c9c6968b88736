using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The clean sample and the noise that a model's output stands for, both linear in latent and output:
/// <c>x0 = x0X*x + x0M*m</c>, <c>epsilon = epsX*x + epsM*m</c>.
/// </summary>
internal readonly record struct LinearPrediction(double X0X, double X0M, double EpsX, double EpsM)
{
    /// <summary>The prediction at alphaBar_t, from <c>x = a*x0 + s*epsilon</c> and the meaning of m.</summary>
    /// <exception cref="UserError">Epsilon prediction where the signal is zero: x0 is undefined.</exception>
    public static LinearPrediction At(double alphaBar, PredictionType prediction)
    {
        var (a, s) = (Math.Sqrt(alphaBar), Math.Sqrt(1 - alphaBar));
        if (prediction == PredictionType.Epsilon && alphaBar == 0)
            throw new UserError(
                "scheduler: rescale_betas_zero_snr with prediction_type epsilon leaves x0 undefined at the first step; use "
                    + "v_prediction or sample");
        return prediction switch
        {
            PredictionType.Epsilon => new(1 / a, -s / a, 0, 1),
            PredictionType.Velocity => new(a, -s, s, a),
            _ => new(0, 1, 1 / s, -a / s),
        };
    }

    /// <summary>The step with mean <c>cX0*x0 + cEps*epsilon + cX*x</c>.</summary>
    public GaussianStep Step(long timestep, double cX0, double cEps, double cX, double sigma) =>
        new(timestep, cX0 * X0X + cEps * EpsX + cX, cX0 * X0M + cEps * EpsM, sigma);
}
