using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>Reading of snapshots that come from checkpoints.</summary>
internal static class OptimizerState
{
    /// <summary>A tensor of a snapshot.</summary>
    /// <exception cref="UserError">It is missing or of another length.</exception>
    public static float[] Take(IReadOnlyDictionary<string, float[]> snapshot, string name, int length)
    {
        if (!snapshot.TryGetValue(name, out var values))
            throw new UserError($"optimizer state: expected a tensor named {name}, got "
                + $"{string.Join(", ", snapshot.Keys.Order(StringComparer.Ordinal))}; the checkpoint is of another optimizer");
        return values.Length == length
            ? values
            : throw new UserError($"optimizer state: {name}: expected {length} numbers, got {values.Length}; the checkpoint is of "
                + $"another model or LoRA rank");
    }
}
