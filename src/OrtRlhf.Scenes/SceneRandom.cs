namespace OrtRlhf.Scenes;

/// <summary>
/// Numbers for one scene, a function of (seed, index) alone: SplitMix64 (Steele, Lea and Flood 2014) started from a hash of both.
/// Integer arithmetic and exact float scaling only, so that every machine draws the same scenes.
/// </summary>
internal struct SceneRandom(ulong seed, ulong index)
{
    private const ulong Golden = 0x9E3779B97F4A7C15;
    private ulong _state = Mix(seed + Golden) ^ Mix(index * Golden + 0x632BE59BD9B4E019);

    public ulong NextBits() => Mix(_state += Golden);

    /// <summary>Uniform in [0, 1), 24 bits.</summary>
    public float NextFloat() => (NextBits() >> 40) * (1f / (1 << 24));

    public float Between(float low, float high) => low + (high - low) * NextFloat();

    public int Below(int count) => (int)(((NextBits() >> 32) * (ulong)count) >> 32);

    public bool Chance(float probability) => NextFloat() < probability;

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
