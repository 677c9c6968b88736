// Not a test: starts or resumes the tuning run of a folder, in a process that a test can kill.
using OrtRlhf.Tuning.Tests.Runs;

if (args is not ["tune", var model, var output]) return 2;
TinyRun.StartOrResume(model, output);
return 0;
