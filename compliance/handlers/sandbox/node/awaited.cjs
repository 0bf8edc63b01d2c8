// Which calls the handler waited for. AWS answers two turns of the event loop later, or after a pause, so a call that
// nobody waits for is still open when the handler answers. Calls are numbered within an invocation.
'use strict';
const virtual = require('./virtual.cjs');
const { setImmediate } = globalThis;

// Of calls that are made at once, the last is answered first after a pause: a handler that waits for only one
// of them waits for the first one either way.
let pause = 0; // milliseconds
const taken = (number, signal) => (pause && number >= 0 ? virtual.wait(pause * (1 - number / 1e4), signal)
  : new Promise((next) => { setImmediate(next); }));

let made = 0;
const open = new Set();
let failed = []; // calls that AWS has refused, of which the handler has not heard

const counted = (call) => (...args) => { made += 1; return call(...args); };

const begin = (ms) => { pause = ms; made = 0; open.clear(); failed = []; };

const pending = () => [...open];

async function awaited(make, signal) {
  const before = made;
  const answer = make();
  const own = made > before ? made - 1 : -1;
  if (own >= 0) open.add(own);
  try {
    const result = await answer;
    await taken(own, signal);
    return result;
  } catch (error) {
    if (pause) await taken(own, signal);
    failed.push(own);
    await new Promise((next) => { setImmediate(next); });
    // `Promise.all` ends with the first that fails. Those that fail at the same time are not open any more.
    for (const each of failed) open.delete(each);
    failed = [];
    throw error;
  } finally {
    open.delete(own);
  }
}

module.exports = { counted, begin, pending, awaited };
