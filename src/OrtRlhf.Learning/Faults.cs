using OrtRlhf.Graph;

namespace OrtRlhf.Learning;

/// <summary>Gathers what is wrong with an options record, so that one message tells all of it.</summary>
internal sealed class Faults(string where)
{
    private readonly List<string> faults = [];

    /// <summary>Notes a fault unless the value is as expected (NaN never is).</summary>
    public Faults Expect(bool holds, string name, string expected, object got)
    {
        if (!holds)
            faults.Add(FormattableString.Invariant($"{name}: expected {expected}, got {got}"));
        return this;
    }

    /// <summary>Throws if there was any fault.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Throw()
    {
        if (faults.Count > 0)
            throw new UserError($"{where}: {string.Join("; ", faults)}");
    }
}
