using System.Globalization;
using OrtRlhf.Cli.CommandLine;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
using var stop = new StopSignal();
return CommandRunner.Run(args, stop.Token);
