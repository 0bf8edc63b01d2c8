// How long a client of the SDK waits for an AWS that never answers, as it is configured.
'use strict';
const virtual = require('./virtual.cjs');

const ATTEMPTS = 3;
const SOCKETS = 50;
let attempts;
const start = (given) => { attempts = given; };

// https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/migrate-client-constructors.html
// `requestTimeout` only warns, unless `throwOnRequestTimeout` is set.
async function settings({ requestHandler, maxAttempts } = {}) {
  const given = requestHandler?.options ?? requestHandler;
  const options = (await (typeof given === 'function' ? given() : given)) ?? {};
  const limits = [options.socketTimeout, options.throwOnRequestTimeout && options.requestTimeout].filter((ms) => ms > 0);
  const most = await (typeof maxAttempts === 'function' ? maxAttempts() : maxAttempts);
  const { httpsAgent: agent } = options;
  return {
    idle: Math.min(Infinity, ...limits),
    tries: Math.max(1, Number(most ?? attempts ?? ATTEMPTS)),
    sockets: agent === undefined ? SOCKETS : agent.maxSockets ?? Infinity,
  };
}

// A client's sockets: who finds none free waits for one.
class Sockets {
  constructor(count) { this.free = count; this.queue = []; }

  take(signal) {
    if (this.free > 0) { this.free -= 1; return undefined; }
    return new Promise((resolve, reject) => {
      this.queue.push(resolve);
      signal?.addEventListener('abort', () => {
        const place = this.queue.indexOf(resolve);
        if (place < 0) return;
        this.queue.splice(place, 1);
        reject(Object.assign(new Error('Request aborted'), { name: 'AbortError' }));
      }, { once: true });
    });
  }

  give() { const next = this.queue.shift(); if (next) next(); else this.free += 1; }
}

const pools = new WeakMap();

// Waits as the client would; it then fails as after any timeout.
async function unanswered(raw, { abortSignal: signal } = {}) {
  if (!virtual.active()) return;
  const { idle, tries, sockets } = await settings(raw);
  if (!pools.has(raw)) pools.set(raw, new Sockets(sockets));
  for (let i = 0; i < tries; i += 1) {
    if (i) await virtual.wait(100 * 2 ** (i - 1), signal);
    await pools.get(raw).take(signal);
    try { await virtual.wait(idle, signal); } catch (error) { pools.get(raw).give(); throw error; }
    pools.get(raw).give();
  }
}

module.exports = { start, unanswered };
