namespace OrtRlhf.Learning.Preferences;

/// <summary>
/// The temperature that makes a model's probabilities of preferences mean what they say (Guo et al. 2017): the T that makes choices which
/// the model was not fitted to
/// most likely, <c>max_T sum_i c_i ln sigmoid(z_i / T)</c>. Dividing all scores by it changes no order. Two more choices, one right and one
/// wrong by the mean |z|, stand for
/// those that might have been seen (Laplace's rule of succession): a model without a mistake is not taken for certain.
/// </summary>
public static class TemperatureScaling
{
    private const double Least = 1e-4;

    /// <summary>The temperature of a model that is right no more often than wrong; no other is higher.</summary>
    public const double Highest = 100;

    /// <summary>Finds T, above 0 to <see cref="Highest"/>, by bisection: the likelihood has one maximum.</summary>
    /// <param name="logits">z_i, the score of what was preferred less that of what was not [n].</param>
    /// <param name="weights">c_i, how much each counts, above 0 [n].</param>
    public static double Fit(IReadOnlyList<double> logits, IReadOnlyList<double> weights)
    {
        var usual = logits.Zip(weights, (z, c) => c * Math.Abs(z)).Sum() / weights.Sum();
        var (low, high) = (Math.Log(Least), Math.Log(Highest));
        for (var i = 0; i < 60; i++)
        {
            var middle = (low + high) / 2;
            if (Slope(Math.Exp(-middle)) > 0) high = middle;
            else low = middle;
        }
        return Math.Exp((low + high) / 2);

        // By the inverse temperature; above 0 where a colder model would be more likely.
        double Slope(double inverse)
        {
            var sum = Term(usual, 1) + Term(-usual, 1);
            for (var i = 0; i < logits.Count; i++) sum += Term(logits[i], weights[i]);
            return sum;

            double Term(double z, double c) => c * BradleyTerry.Probability(-inverse * z) * z;
        }
    }
}
