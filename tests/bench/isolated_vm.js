// A new isolate of isolated-vm for each run of the same small program; prints the median in microseconds.
const ivm = require('isolated-vm');

const took = [];
for (let i = 0; i < 150; i++) {
  const begin = process.hrtime.bigint();
  const isolate = new ivm.Isolate({ memoryLimit: 128 });
  const context = isolate.createContextSync();
  context.global.setSync('context', new ivm.ExternalCopy({ numbers: [1, 2, 3] }).copyInto());
  const script = isolate.compileScriptSync('context.numbers.reduce((a, b) => a + b, 0) * 2');
  if (script.runSync(context, { timeout: 1000 }) !== 12) throw new Error('wrong sum');
  isolate.dispose();
  took.push(Number(process.hrtime.bigint() - begin) / 1000);
}
took.sort((a, b) => a - b);
console.log(Math.round(took[75]));
