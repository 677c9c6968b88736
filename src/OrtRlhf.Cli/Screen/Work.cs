using Spectre.Console;

namespace OrtRlhf.Cli.Screen;

/// <summary>A bar for work whose length is known; nothing when redirected.</summary>
internal static class Work
{
    /// <summary>Does something and shows how far it is.</summary>
    /// <param name="what">What it is called.</param>
    /// <param name="total">Its length.</param>
    /// <param name="work">The work; it is given whom to tell how much is done.</param>
    public static T Show<T>(string what, int total, Func<Action<int>, T> work)
    {
        if (!Terminal.IsLive) return work(_ => { });
        return Terminal.Out.Progress().AutoClear(true)
            .Columns(new SpinnerColumn(Spinner.Known.Dots), new ProgressBarColumn { Width = 24 },
                new TaskDescriptionColumn { Alignment = Justify.Left }, new RemainingTimeColumn())
            .Start(context =>
            {
                var task = context.AddTask(what, maxValue: total);
                return work(done =>
                {
                    task.Value = done;
                    task.Description = $"{what} {done}/{total}";
                });
            });
    }
}
