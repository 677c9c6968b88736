using OrtRlhf.Tuning.Metrics;
using Spectre.Console;

namespace OrtRlhf.Cli.Screen;

/// <summary>Scores of two models on the same images, with standard errors.</summary>
internal sealed class ScoreTable
{
    private readonly Table _table = new Table().Border(TableBorder.Simple);

    private ScoreTable()
    {
    }

    /// <summary>An empty table.</summary>
    /// <param name="what">Heading of the names.</param>
    /// <param name="headings">Headings of the numbers.</param>
    public static ScoreTable New(string what, params ReadOnlySpan<string> headings)
    {
        var table = new ScoreTable();
        table._table.AddColumn(new TableColumn(new Text(what)).NoWrap());
        foreach (var heading in headings) table._table.AddColumn(new TableColumn(new Text(heading)).RightAligned().NoWrap());
        return table;
    }

    /// <summary>Adds a quantity before and after, its change in standard errors, and how often it rose.</summary>
    public void Add(string name, BeforeAfter change) => Row(
        name, Numbers.Write(change.Before), Numbers.Write(change.After),
            $"{Numbers.Signed(change.After.Mean - change.Before.Mean)} ({change.StandardErrors:+0.0;-0.0;0} se)",
        change.WinRate is { } wins ? Numbers.Percent(wins) : "");

    /// <summary>Adds a line of texts.</summary>
    public void Row(string name, params ReadOnlySpan<string> cells)
    {
        var row = new Text[cells.Length + 1];
        row[0] = new Text(name);
        for (var i = 0; i < cells.Length; i++) row[i + 1] = new Text(cells[i]);
        _table.AddRow(row);
    }

    /// <summary>Writes it.</summary>
    public void Write() => Terminal.Out.Write(_table);
}
