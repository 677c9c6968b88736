using System.Globalization;
using OrtRlhf.Cli;
using OrtRlhf.Cli.CommandLine;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
if (OperatingSystem.IsWindows()) Console.OutputEncoding = System.Text.Encoding.UTF8;
using var stop = new StopSignal();
return CommandRunner.Run(args, stop.Token);
