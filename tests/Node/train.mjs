// Trains with ONNX Runtime's own training runtime: node train.mjs PACKAGE_DIST ARTIFACTS FEEDS.json STEPS
// One JSON line: losses before each step, the parameters (base64 of float32) after each, the loss of the evaluation model at the end.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

globalThis.require = createRequire(import.meta.url); // the package looks for Node's modules by it
const [dist, folder, feedsPath, steps] = process.argv.slice(2);
const ort = await import(pathToFileURL(join(dist, 'ort.training.wasm.mjs')));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = dist + '/';
ort.env.logLevel = 'error';

const file = name => new Uint8Array(readFileSync(join(folder, name)));
const session = await ort.TrainingSession.create({
    checkpointState: file('checkpoint'),
    trainModel: file('training_model.onnx'),
    evalModel: file('eval_model.onnx'),
    optimizerModel: file('optimizer_model.onnx'),
}, { executionProviders: ['wasm'] });

const feeds = {};
for (const [name, { type, dims, data }] of Object.entries(JSON.parse(readFileSync(feedsPath))))
    feeds[name] = new ort.Tensor(type, type === 'int64' ? BigInt64Array.from(data.map(BigInt)) : Float32Array.from(data), dims);

const result = { losses: [], parameters: [], evaluation: 0, inputs: session.trainingInputNames, outputs: session.trainingOutputNames };
for (let step = 0; step < Number(steps); step++) {
    await session.lazyResetGrad();
    result.losses.push((await session.runTrainStep(feeds)).loss.data[0]);
    await session.runOptimizerStep();
    const parameters = (await session.getContiguousParameters(true)).data;
    result.parameters.push(Buffer.from(parameters.buffer, parameters.byteOffset, parameters.byteLength).toString('base64'));
}
result.evaluation = (await session.runEvalStep(feeds)).loss.data[0];
process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0));
