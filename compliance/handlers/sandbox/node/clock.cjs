// The handler's wall clock, so many seconds away from the real one.
'use strict';
const virtual = require('./virtual.cjs');
const RealDate = Date;
const { now } = virtual;

let seconds = 0;
const shifted = () => now() + Math.round(seconds * 1000);

const shift = (by) => { seconds = by - virtual.passed() / 1000; };

// Before the handler's code is loaded, which may keep Date for itself.
function install() {
  RealDate.now = shifted;
  const date = new Proxy(RealDate, {
    construct: (target, args, as) => Reflect.construct(target, args.length ? args : [shifted()], as === date ? target : as),
    apply: () => new RealDate(shifted()).toString(),
  });
  RealDate.prototype.constructor = date;
  globalThis.Date = date;
}

module.exports = { shift, install };
