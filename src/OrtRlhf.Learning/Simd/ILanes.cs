using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace OrtRlhf.Learning.Simd;

/// <summary>
/// Floats processed side by side, so that a kernel's formula is written once and runs on the widest vectors of the machine and,
/// for the tail, on single floats with the same rounding (fused multiply-add throughout).
/// </summary>
internal interface ILanes<TSelf> where TSelf : struct, ILanes<TSelf>
{
    static abstract int Count { get; }

    static abstract TSelf Broadcast(float value);

    static abstract TSelf Load(ref float source, nuint offset);

    void Store(ref float destination, nuint offset);

    /// <summary>a*b + c, rounded once.</summary>
    static abstract TSelf Fma(TSelf a, TSelf b, TSelf c);

    static abstract TSelf Sqrt(TSelf a);

    static abstract TSelf operator +(TSelf a, TSelf b);

    static abstract TSelf operator -(TSelf a, TSelf b);

    static abstract TSelf operator *(TSelf a, TSelf b);

    static abstract TSelf operator /(TSelf a, TSelf b);

    float Sum();
}

/// <summary>Sixteen floats: Vector&lt;float&gt; stops at eight even where AVX-512 is on.</summary>
internal readonly struct Lanes512(Vector512<float> v) : ILanes<Lanes512>
{
    private readonly Vector512<float> v = v;

    public static int Count => Vector512<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Broadcast(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Load(ref float source, nuint offset) => new(Vector512.LoadUnsafe(ref source, offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(ref float destination, nuint offset) => v.StoreUnsafe(ref destination, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Fma(Lanes512 a, Lanes512 b, Lanes512 c) => new(Vector512.FusedMultiplyAdd(a.v, b.v, c.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Sqrt(Lanes512 a) => new(Vector512.Sqrt(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator +(Lanes512 a, Lanes512 b) => new(a.v + b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator -(Lanes512 a, Lanes512 b) => new(a.v - b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator *(Lanes512 a, Lanes512 b) => new(a.v * b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator /(Lanes512 a, Lanes512 b) => new(a.v / b.v);

    public float Sum() => Vector512.Sum(v);
}

/// <summary>The machine's Vector&lt;float&gt;: eight floats with AVX2, four with NEON.</summary>
internal readonly struct LanesNative(Vector<float> v) : ILanes<LanesNative>
{
    private readonly Vector<float> v = v;

    public static int Count => Vector<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative Broadcast(float value) => new(new Vector<float>(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative Load(ref float source, nuint offset) => new(Vector.LoadUnsafe(ref source, offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(ref float destination, nuint offset) => v.StoreUnsafe(ref destination, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative Fma(LanesNative a, LanesNative b, LanesNative c) => new(Vector.FusedMultiplyAdd(a.v, b.v, c.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative Sqrt(LanesNative a) => new(Vector.SquareRoot(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative operator +(LanesNative a, LanesNative b) => new(a.v + b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative operator -(LanesNative a, LanesNative b) => new(a.v - b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative operator *(LanesNative a, LanesNative b) => new(a.v * b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesNative operator /(LanesNative a, LanesNative b) => new(a.v / b.v);

    public float Sum() => Vector.Sum(v);
}

/// <summary>One float, for the tail.</summary>
internal readonly struct LaneSingle(float v) : ILanes<LaneSingle>
{
    private readonly float v = v;

    public static int Count => 1;

    public static LaneSingle Broadcast(float value) => new(value);

    public static LaneSingle Load(ref float source, nuint offset) => new(Unsafe.Add(ref source, offset));

    public void Store(ref float destination, nuint offset) => Unsafe.Add(ref destination, offset) = v;

    public static LaneSingle Fma(LaneSingle a, LaneSingle b, LaneSingle c) => new(MathF.FusedMultiplyAdd(a.v, b.v, c.v));

    public static LaneSingle Sqrt(LaneSingle a) => new(MathF.Sqrt(a.v));

    public static LaneSingle operator +(LaneSingle a, LaneSingle b) => new(a.v + b.v);

    public static LaneSingle operator -(LaneSingle a, LaneSingle b) => new(a.v - b.v);

    public static LaneSingle operator *(LaneSingle a, LaneSingle b) => new(a.v * b.v);

    public static LaneSingle operator /(LaneSingle a, LaneSingle b) => new(a.v / b.v);

    public float Sum() => v;
}
