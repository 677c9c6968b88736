using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;

namespace OrtRlhf.Cli.Commands;

/// <summary>Prints what makes a shell complete our command lines.</summary>
[Verb("completion", HelpText = "Prints a script that completes commands, options and their values in a shell.")]
[Example("in this bash", "completion bash > ortrlhf.bash && source ortrlhf.bash")]
internal sealed class CompletionCommand : ICommand
{
    // Each asks the program itself, by the directive that System.CommandLine answers.
    private static readonly Dictionary<string, string> Scripts = new(StringComparer.Ordinal)
    {
        ["bash"] = """
            _ortrlhf() {
              local IFS=$'\n'
              COMPREPLY=($(compgen -W "$(ortrlhf "[suggest:$((COMP_POINT - ${#COMP_WORDS[0]} - 1))]" "${COMP_LINE#* }" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
            }
            complete -o default -F _ortrlhf ortrlhf
            """,
        ["zsh"] = """
            _ortrlhf() {
              local line="${BUFFER#* }"
              compadd -- ${(f)"$(ortrlhf "[suggest:$((CURSOR - ${#words[1]} - 1))]" "$line" 2>/dev/null)"}
            }
            compdef _ortrlhf ortrlhf
            """,
        ["fish"] = """
            function __ortrlhf
              set -l line (commandline -cp | string replace -r '^\S+\s*' '')
              ortrlhf "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
            end
            complete -c ortrlhf -a '(__ortrlhf)'
            """,
        ["pwsh"] = """
            Register-ArgumentCompleter -Native -CommandName ortrlhf -ScriptBlock {
              param($word, $ast, $position)
              $line = $ast.ToString() -replace '^\S+\s*', ''
              ortrlhf "[suggest:$($line.Length)]" $line 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
            }
            """,
    };

    [Value(0, MetaName = "SHELL", Required = true, HelpText = "bash, zsh, fish or pwsh.")]
    public string Shell { get; set; } = "";

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        if (!Scripts.TryGetValue(Shell,
            out var script)) throw new UsageError($"completion: expected {string.Join(", ", Scripts.Keys)}, got '{Shell}'");
        Terminal.Line(script);
        return ExitCode.Done;
    }
}
