// Which calls the handler waited for. AWS answers two turns of the event loop later, so a call that nobody waits
// for is still open when the handler answers. Calls are numbered within an invocation.
'use strict';
const { setImmediate } = globalThis;
const turn = () => new Promise((next) => { setImmediate(next); });

let made = 0;
const open = new Set();

const counted = (call) => (...args) => { made += 1; return call(...args); };

const begin = () => { made = 0; open.clear(); };

const pending = () => [...open];

async function awaited(make) {
  const before = made;
  const answer = make();
  const own = made > before ? made - 1 : -1;
  if (own >= 0) open.add(own);
  try {
    return await answer;
  } finally {
    await turn();
    open.delete(own);
  }
}

module.exports = { counted, begin, pending, awaited };
