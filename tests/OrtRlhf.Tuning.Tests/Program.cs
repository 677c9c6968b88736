// With "tune MODEL OUTPUT": starts or resumes the tuning run of a folder, in a process that a test can kill. Else the tests' own entry
// point.
using OrtRlhf.Tuning.Tests.Runs;
using Xunit.Runner.InProc.SystemConsole;

if (args is not ["tune", var model, var output]) return await ConsoleRunner.Run(args);
TinyRun.StartOrResume(model, output);
return 0;
