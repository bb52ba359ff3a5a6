// A new isolate of isolated-vm for each run of the same small program; prints the mean of runs in a row, in microseconds.
const ivm = require('isolated-vm');

function run() {
  const isolate = new ivm.Isolate({ memoryLimit: 128 });
  const context = isolate.createContextSync();
  context.global.setSync('context', new ivm.ExternalCopy({ numbers: [1, 2, 3] }).copyInto());
  const script = isolate.compileScriptSync('context.numbers.reduce((a, b) => a + b, 0) * 2');
  if (script.runSync(context, { timeout: 1000 }) !== 12) throw new Error('wrong sum');
  isolate.dispose();
}

const RUNS = 120;
for (let i = 0; i < 20; i++) run();
const begin = process.hrtime.bigint();
for (let i = 0; i < RUNS; i++) run();
console.log(Math.round(Number(process.hrtime.bigint() - begin) / 1000 / RUNS));
