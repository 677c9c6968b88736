namespace OrtRlhf.Cli.CommandLine;

/// <summary>The heading under which help lists an option; options without one stand under "Options".</summary>
/// <param name="title">The heading.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SectionAttribute(string title) : Attribute
{
    public string Title => title;
}

/// <summary>A command line that help shows, in the order of the attributes.</summary>
/// <param name="text">What it does, a phrase.</param>
/// <param name="arguments">What follows the program's name.</param>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class ExampleAttribute(string text, string arguments) : Attribute
{
    public string Text => text;

    public string Arguments => arguments;
}
