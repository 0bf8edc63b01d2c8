// The handler's wall clock, so many seconds away from the real one.
'use strict';
const virtual = require('./virtual.cjs');
const RealDate = Date;
const { now } = virtual;

let seconds = 0;
const shifted = () => Math.floor(now() + seconds * 1000);

// Shows another time. A later one has come by waiting, for clocks that only count too.
function shift(by) {
  virtual.skip(Math.max(0, (by - seconds) * 1000 - virtual.passed()));
  seconds = by - virtual.passed() / 1000;
}

// Before the handler's code is loaded, which may keep Date for itself.
function install(by) {
  seconds = by;
  RealDate.now = shifted;
  const date = new Proxy(RealDate, {
    construct: (target, args, as) => Reflect.construct(target, args.length ? args : [shifted()], as === date ? target : as),
    apply: () => new RealDate(shifted()).toString(),
  });
  RealDate.prototype.constructor = date;
  globalThis.Date = date;
}

module.exports = { shift, install };
