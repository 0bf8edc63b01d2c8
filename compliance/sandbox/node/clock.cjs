// The handler's wall clock, so many seconds away from the real one. Installed on the first use only.
'use strict';
const RealDate = Date;
const { now } = Date;

let seconds = 0;
let installed = false;
const shifted = () => now() + Math.round(seconds * 1000);

function shift(by) {
  seconds = by;
  if (by === 0 || installed) return;
  installed = true;
  RealDate.now = shifted;
  const date = new Proxy(RealDate, {
    construct: (target, args, as) => Reflect.construct(target, args.length ? args : [shifted()], as === date ? target : as),
    apply: () => new RealDate(shifted()).toString(),
  });
  RealDate.prototype.constructor = date;
  globalThis.Date = date;
}

module.exports = { shift };
