// Hands each event that comes as a line to a handler, and answers with a line of what came of it.
// Timers may be told to run faster, so that nobody waits for what hangs; the seconds are the real ones.
'use strict';
const { Socket } = require('node:net');

let faster = 1;
const { setTimeout } = globalThis;
globalThis.setTimeout = (done, after, ...rest) => setTimeout(done, after / faster, ...rest);
const idle = Socket.prototype.setTimeout;
Socket.prototype.setTimeout = function hurried(after, ...rest) { return idle.call(this, after / faster, ...rest); };

const { timeout } = AbortSignal;
AbortSignal.timeout = (after) => timeout.call(AbortSignal, Math.round(after / faster));

const { handler } = require(process.argv[2]);

(async () => {
  for await (const line of require('node:readline').createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    faster = order.faster;
    const began = performance.now();
    const left = () => Math.max(0, Math.round(order.timeout * 1000 - (performance.now() - began) * faster));
    const context = { getRemainingTimeInMillis: left };
    const result = await handler(order.event, context).catch((error) => ({ raised: error.name }));
    const seconds = ((performance.now() - began) / 1000) * faster;
    process.stdout.write(`${JSON.stringify({ result, seconds })}\n`);
  }
})();
