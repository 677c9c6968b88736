namespace OrtRlhf.Preferences;

/// <summary>Texts that every store keeps exactly.</summary>
internal static class Text
{
    /// <summary>Whether a database would change or refuse the text: a zero character, or half of a surrogate pair.</summary>
    public static bool HasFault(string? text)
    {
        for (var i = 0; i < text?.Length; i++)
        {
            if (text[i] == '\0') return true;
            if (!char.IsSurrogate(text[i])) continue;
            if (i + 1 == text.Length || !char.IsSurrogatePair(text[i], text[i + 1])) return true;
            i++;
        }
        return false;
    }
}
