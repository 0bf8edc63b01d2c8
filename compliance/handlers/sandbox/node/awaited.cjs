// Which calls the handler waited for. AWS answers two turns of the event loop later, so a call that nobody waits
// for is still open when the handler answers. Calls are numbered within an invocation.
'use strict';
const { setImmediate } = globalThis;

// Answers that come in the same turn are heard in the order of their calls, or backwards, as AWS may answer.
let backwards = false;
let heard = [];
const turn = () => new Promise((next) => {
  if (!backwards) setImmediate(next);
  else if (heard.push(next) === 1) setImmediate(hear);
});

function hear() {
  const all = heard;
  heard = [];
  for (let i = all.length - 1; i >= 0; i--) setImmediate(all[i]);
}

let made = 0;
const open = new Set();
let failed = []; // calls that AWS has refused, of which the handler has not heard

const counted = (call) => (...args) => { made += 1; return call(...args); };

const begin = (slowly) => { backwards = slowly; made = 0; open.clear(); failed = []; };

const pending = () => [...open];

async function awaited(make) {
  const before = made;
  const answer = make();
  const own = made > before ? made - 1 : -1;
  if (own >= 0) open.add(own);
  try {
    const result = await answer;
    await turn();
    open.delete(own);
    return result;
  } catch (error) {
    failed.push(own);
    await turn();
    // `Promise.all` ends with the first that fails. Those that fail at the same time are not open any more.
    for (const each of failed) open.delete(each);
    failed = [];
    throw error;
  }
}

module.exports = { counted, begin, pending, awaited };
