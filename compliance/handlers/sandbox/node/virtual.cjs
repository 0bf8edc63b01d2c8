// Time that passes at once while everything waits, and between invocations. Where the event loop has run dry, time
// jumps to the next timer.
'use strict';
const timers = require('node:timers');
const promises = require('node:timers/promises');
const { promisify } = require('node:util');
const { syncBuiltinESMExports } = require('node:module');

const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval } = globalThis;
const real = { sleep: promises.setTimeout, now: Date.now, hrtime: process.hrtime,
  bigint: process.hrtime.bigint, timeout: AbortSignal.timeout, block: Atomics.wait };
const MOST = 1000; // timers that fire when the handler has answered

let passed = 0; // milliseconds that went by at once
let begun = 0; // how many of them before the invocation
let end = null; // when the function's time is over, and what is done then
let answered = false;
let fired = 0;
let nudge;
const waiting = new Set();
const others = new Set(); // timers that were started between invocations, such as when the code was loaded
let kept = []; // those of them that keep the event loop from running dry

const now = () => real.now() + passed;
const active = () => end !== null;

class Timer {
  constructor(run, ms, every = false) {
    const delay = Number(ms);
    Object.assign(this, { run, ms: delay >= 1 ? delay : 1, every, held: true });
    this.refresh();
  }

  refresh() { this.at = passed + this.ms; waiting.delete(this); waiting.add(this); return this; }

  ref() { this.held = true; return this; }

  unref() { this.held = false; return this; }

  hasRef() { return this.held; }

  close() { waiting.delete(this); return this; }

  [Symbol.toPrimitive]() { return 0; }

  [Symbol.dispose]() { this.close(); }
}

function begin(seconds, timedOut) {
  waiting.clear();
  [answered, fired, end] = [false, 0, { at: passed + seconds * 1000, timedOut }];
  kept = [...others].filter((timer) => timer.hasRef());
  for (const timer of kept) timer.unref();
  nudge = setInterval(advance, 1000); // whatever else keeps it is mostly work, such as that of zlib
  nudge.unref();
}

// What is left to timers goes on, but the function's time counts no more.
const answer = () => { answered = true; };

function stop() {
  end = null;
  waiting.clear();
  clearInterval(nudge);
  for (const timer of kept) if (others.has(timer)) timer.ref();
}

// Time jumps to the next timer. False where none is waited for.
function advance() {
  if (end === null || !(kept.some((timer) => others.has(timer)) || [...waiting].some((timer) => timer.held))) return false;
  if (answered && (fired += 1) > MOST) return false;
  let next = { at: Infinity };
  for (const timer of waiting) if (timer.at < next.at) next = timer;
  if (end.at <= next.at) {
    if (answered) return false;
    passed = Math.max(passed, end.at);
    end.timedOut();
    return true;
  }
  passed = Math.max(passed, next.at);
  if (next.every) next.refresh(); else next.close();
  setImmediate(() => {}); // the loop goes on for what this brings about
  next.run();
  return true;
}

// Between two invocations.
const skip = (ms) => { begun = passed += ms; };
const skipped = () => passed - begun;

// So many milliseconds, unless a signal ends them.
const wait = (ms, signal, value, held = true) => (active() ? new Promise((resolve, reject) => {
  const aborted = () => { timer.close(); reject(abortError(signal)); };
  const timer = new Timer(() => { signal?.removeEventListener('abort', aborted); resolve(value); }, ms);
  timer.held = held;
  if (signal?.aborted) aborted();
  else signal?.addEventListener('abort', aborted, { once: true });
}) : real.sleep(ms, value, { signal, ref: held }));

const abortError = (signal) => Object.assign(new Error('Request aborted', { cause: signal?.reason }), { name: 'AbortError' });

// Node loads `performance` where it is asked for, and so it is changed only then.
function skipping({ performance }) {
  if (!real.performance) {
    real.performance = performance.now.bind(performance);
    performance.now = () => real.performance() + passed;
  }
  return performance;
}

function install() {
  const started = (real_, every) => (run, ms, ...given) => {
    if (active()) return new Timer(() => run(...given), ms, every);
    const timer = real_((...all) => { if (!every) others.delete(timer); run(...all); }, ms, ...given);
    others.add(timer);
    return timer;
  };
  const cleared = (real_) => (timer) => { others.delete(timer); if (timer instanceof Timer) timer.close(); else real_(timer); };
  const sleep = (ms, value, options = {}) => wait(ms, options.signal, value, options.ref !== false);
  const own = { setTimeout: started(setTimeout, false), setInterval: started(setInterval, true),
    clearTimeout: cleared(clearTimeout), clearInterval: cleared(clearInterval) };
  own.setTimeout[promisify.custom] = sleep;
  Object.assign(globalThis, own);
  Object.assign(timers, own);
  promises.setTimeout = sleep;
  promises.setInterval = async function* every(ms, value, options = {}) {
    for (;;) yield await sleep(ms, value, options);
  };
  promises.scheduler.wait = (ms, options) => sleep(ms, undefined, options);
  AbortSignal.timeout = (ms) => {
    if (!active()) return real.timeout.call(AbortSignal, ms);
    const controller = new AbortController();
    const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
    new Timer(() => controller.abort(reason), ms).unref();
    return controller.signal;
  };
  // Blocks the only thread of a handler, so nobody ends the waiting.
  Atomics.wait = (array, index, value, ms = Infinity) => {
    if (!active() || !(ms < Infinity) || Atomics.load(array, index) !== value) return real.block(array, index, value, ms);
    passed += Math.max(0, ms);
    if (passed >= end.at && !answered) end.timedOut();
    return 'timed-out';
  };
  const { get, ...described } = Object.getOwnPropertyDescriptor(globalThis, 'performance');
  Object.defineProperty(globalThis, 'performance', { ...described, get: () => skipping({ performance: get.call(globalThis) }) });
  process.hrtime = Object.assign((since) => {
    const at = real.bigint() + BigInt(Math.round(passed * 1e6)) - (since ? BigInt(since[0]) * 1_000_000_000n + BigInt(since[1]) : 0n);
    return [Number(at / 1_000_000_000n), Number(at % 1_000_000_000n)];
  }, { bigint: () => real.bigint() + BigInt(Math.round(passed * 1e6)) });
  syncBuiltinESMExports();
}

module.exports = { install, begin, answer, stop, advance, active, wait, now, skip, skipped, skipping, passed: () => passed };
