using System.Security.Cryptography;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

/// <summary>Bytes that Pillow 11.1.0 gives for <c>image.resize((w, h), filter)</c> of <see cref="NoiseImage.Pattern"/>.</summary>
public sealed class PillowResizeTests
{
    [Theory]
    [InlineData(13, 9, 7, 5, 3,
        "467AA1889296819BA3938676645C6B548AB6A4D84C918C7695877995867B8978A78F9F7D516AA2A8719871B18086898C9C5B9CAA7A689B65916A617EB2659F7199A66E848E7783836E7CA16A6C754587676571B4AF5D9E947F786E815778908D7F80707E6A854D7F75")]
    [InlineData(5, 4, 8, 7, 3,
        "002B60053A6E1F54893569AE4C87CC62ABE188C6FAA1D5FF174989265F9E4382B363A190839D8C9B7AAB818FCE69A5E35085C2649DE388C6F1ACF661D6BE28F32E59773B82155D9A94D46EB3A88DCF76AA8FA275859E71B2689C8A866A66A43FACF41AD49936ED2763664E88377DB771A2DE9CD06CB6EB11417D5464727B916FA081A859969E4FC95788927C8562A37A00327D1D5BAB57A0CA94E43BD5B40BFF264F8B45942A72BD")]
    [InlineData(31, 17, 4, 4, 3, "8786897C778A78807D80897C7F7F877771867C7E85807B898B6E83878282827A807B7E7F8D6D7A8CA889808880815879")]
    [InlineData(13, 9, 7, 5, 2,
        "4E7B9D84929380999F92807C6866715B8BAA9ECA578D8B7793887D94897E89769F8B977E5871A1A3759377AC8482898D995F94A57D6C9568906E6283AA659A7293A272848D7683856F7D99696F784D80706473A8A76499947C7B70805F79908B807E6F776D81537C7A")]
    [InlineData(13, 9, 7, 5, 1,
        "477E9E87919D8499A2928B716059655089BCA7DD4A928D7A9988719280788781B0949E764F67A7A6749E68B27B8B888BA15AA5A97467A15E8D696880B464A0729DAB6A829379867B6C7BA96D696B3F8D69636EBDB257A59083736B8452788E91788374876C85497D71")]
    [InlineData(13, 9, 7, 5, 0,
        "00356A4A7FB494C9FEDE1348285D9272A7DCBCF126B6EB2034699EB2E71C30659AAEE3184F84B9CD02376CA1D61E5388D0053AA5DA0F578CC12C6196DE134822578C083D7211467B1A4F8400356A093E7312477CD80D42F2275C2F64996CA1D6A9DE13E61B5023588D")]
    [InlineData(13, 9, 7, 5, 4,
        "4479AE9B908572A79CB3689D74695E4B80B5A2D74C877C7192877C9D9287964B807FB4A95B5085AF649999CE834B80B58E4378A5DA0FAB609580356AB2679C6BA0958D82778075AA34699E695E9353883D867BB0AE63988D82777D726798CD827C71666C619653887D")]
    [InlineData(13, 9, 7, 5, 5,
        "3E72A489978C769EAC9E777E6A5A71578BB7A4D7449C89667F88859A9A6B80699A8FAE7A4D689CAE668F80B5866E85959A5186A590598A6F9F675278B662976A95A367817E637C915C769D51657F42775B6876ABAC60959F797B70805F819C8A90805B785A84508377")]
    [InlineData(6, 6, 3, 6, 3,
        "14497E5D92CFA5DA9879B8CEC48D564C62A1C684456789AACC8D4B3E7C92BB844D768CCA8AC281667E978F4D8578B775AC7EBBC05F94")]
    [InlineData(6, 6, 6, 3, 3,
        "3E73896A80B97BB077A76EA3669EB494AA6864996AB27A936FA450B4699E78915AA577B489BE8571AF6D6297B1C164999E5C9A965E93")]
    [InlineData(50, 3, 5, 3, 1, "667F8D76856E7888757C917A8578788B90907372808D93878B878566686C86867D72858D838D7C857D6C897E7B")]
    public void Resize_SmallImages_MatchesReference(int width, int height, int toWidth, int toHeight, int filter, string bytes) =>
        Assert.Equal(bytes,
            Convert.ToHexString(PillowResize.Resize(NoiseImage.Pattern(width, height), toWidth, toHeight, (ResizeFilter)filter).Pixels));

    [Theory] // the first half of the bytes' SHA-256
    [InlineData(640, 480, 298, 224, 3, "52B52450C7509BE3BDDCF92E414D5468")]
    [InlineData(97, 211, 224, 487, 3, "1622722960D463E27BA530C0B5160231")]
    [InlineData(64, 64, 48, 48, 3, "B6E73513CA4901BB3D66E6760E43D8C2")]
    [InlineData(301, 200, 64, 64, 1, "A9AC86807AD37C11C0BA933557925949")]
    [InlineData(512, 512, 224, 224, 3, "A3550C39649E2111FDA138D1C6BAA3BA")]
    [InlineData(130, 70, 224, 224, 2, "98B55F7BCE95B196C012D7CAE9A0B4D0")]
    public void Resize_LargeImages_MatchesReference(int width, int height, int toWidth, int toHeight, int filter, string hash)
    {
        var result = PillowResize.Resize(NoiseImage.Pattern(width, height), toWidth, toHeight, (ResizeFilter)filter);
        Assert.Equal(hash, Convert.ToHexString(SHA256.HashData(result.Pixels))[..32]);
    }

    [Fact]
    public void Resize_ByHand()
    {
        // Doubling 0, 100 by the bilinear filter: quarters of the way, ends held. Halving by the box: means, halves rounded up.
        Assert.Equal([0, 25, 75, 100], Row(PillowResize.Resize(Grey(0, 100), 4, 1, ResizeFilter.Bilinear)));
        Assert.Equal([1, 128], Row(PillowResize.Resize(Grey(0, 1, 0, 255), 2, 1, ResizeFilter.Box)));
        // Keys' cubic at 1/4 and 3/4: weights -9/128, 111/128, 29/128, -3/128; it overshoots, and is limited.
        Assert.Equal([0, 0, 0, 52, 203, 255, 255, 255], Row(PillowResize.Resize(Grey(0, 0, 255, 255), 8, 1)));
    }

    [Theory]
    [InlineData(ResizeFilter.Bicubic)]
    [InlineData(ResizeFilter.Lanczos)]
    [InlineData(ResizeFilter.Hamming)]
    public void Resize_OneColour_StaysIt(ResizeFilter filter)
    {
        var image = new RgbImage(7, 5);
        image.MutablePixels.Fill(201);
        foreach (var (width, height) in new[] { (3, 2), (20, 13), (7, 1), (1, 1) })
            Assert.DoesNotContain(PillowResize.Resize(image, width, height, filter).Pixels.ToArray(), value => value != 201);
    }

    [Fact]
    public void Resize_SameSize_IsTheSameImage()
    {
        var image = NoiseImage.Pattern(6, 4);
        Assert.Same(image, PillowResize.Resize(image, 6, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => PillowResize.Resize(image, 0, 4));
    }

    private static RgbImage Grey(params byte[] row) => new(row.Length, 1, [.. row.SelectMany(value => new[] { value, value, value })]);

    private static int[] Row(RgbImage image) => [.. Enumerable.Range(0, image.Width).Select(x => (int)image[x, 0].G)];
}
