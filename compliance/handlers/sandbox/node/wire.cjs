// The one way out: messages to the audit on a pipe of its own, each behind a secret.
//
// The handler runs in this very process and may replace any built-in, so everything used here is
// taken before its code is loaded, and what is sent is copied to objects without a prototype
// (no toJSON, no getter on Object.prototype gets a say).
'use strict';
const fs = require('node:fs');

const { apply, ownKeys } = Reflect;
const { create, setPrototypeOf, getOwnPropertyDescriptor } = Object;
const { parse, stringify } = JSON;
const { isArray } = Array;
const RealDate = Date;
const RealPromise = Promise;
const { setImmediate } = globalThis;
const { isDate, isUint8Array, isAnyArrayBuffer, isArrayBufferView, isSet } = require('node:util').types;
const [readSync, writeSync] = [fs.readSync, fs.writeSync];
const BufferFrom = Buffer.from;
const bound = (f) => (self, ...rest) => apply(f, self, rest);
const toBase64 = bound(Buffer.prototype.toString);
const toISOString = bound(Date.prototype.toISOString);
const indexOf = bound(Buffer.prototype.indexOf);
const subarray = bound(Uint8Array.prototype.subarray);
const concat = Buffer.concat;
const setForEach = bound(Set.prototype.forEach);

const DEPTH = 64;
const MOST_UNREAD = 32768; // bytes of questions; half of what a pipe holds

// A copy that JSON.stringify can be trusted with. Bytes become {$b: base64}.
function plain(value, depth = 0) {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return `${value}`;
  if (typeof value !== 'object') return undefined;
  if (depth > DEPTH) return '(too deep)';
  if (isUint8Array(value)) return bytes(value);
  if (isAnyArrayBuffer(value)) return bytes(new Uint8Array(value));
  if (isArrayBufferView(value)) return bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  if (isDate(value)) return toISOString(value);
  if (isSet(value)) {
    const members = [];
    setForEach(value, (member) => { members[members.length] = member; });
    return plain(members, depth);
  }
  if (isArray(value)) {
    const copy = setPrototypeOf([], null);
    for (let i = 0; i < value.length; i++) copy[i] = plain(value[i], depth + 1) ?? null;
    return copy;
  }
  const copy = create(null);
  const keys = ownKeys(value);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    if (typeof key !== 'string' || !getOwnPropertyDescriptor(value, key)?.enumerable) continue;
    const child = plain(value[key], depth + 1);
    if (child !== undefined) copy[key] = child;
  }
  return copy;
}

function bytes(array) {
  const copy = create(null);
  copy.$b = toBase64(BufferFrom(array.buffer, array.byteOffset, array.byteLength), 'base64');
  return copy;
}

// Reads one line, blocking: the audit answers at once, and nothing else may happen meanwhile.
let rest = BufferFrom('');
const chunk = BufferFrom(new ArrayBuffer(65536));
function readLine(fd) {
  for (;;) {
    const end = indexOf(rest, 10);
    if (end >= 0) {
      const line = subarray(rest, 0, end);
      rest = subarray(rest, end + 1);
      return parse(toBase64(line, 'utf8'));
    }
    const size = readSync(fd, chunk, 0, 65536, null);
    if (size === 0) throw new Error('the audit is gone');
    rest = concat([rest, BufferFrom(subarray(chunk, 0, size))]);
  }
}

function open(readFd, writeFd) {
  const job = readLine(readFd);
  const secret = job.secret;
  delete job.secret;
  const written = (kind, fields) => {
    const message = plain(fields) ?? create(null);
    message.t = kind;
    // The leading newline ends whatever the handler itself may have put on the pipe.
    return BufferFrom(`\n${secret}${stringify(message)}\n`);
  };
  const put = (line) => {
    for (let sent = 0; sent < line.length;) sent += writeSync(writeFd, line, sent, line.length - sent);
  };
  const send = (kind, fields) => put(written(kind, fields));
  // What was asked and is not answered yet, in order. As long as it fits into the pipe, nobody waits for it.
  let [asked, unread] = [[], 0];
  const hear = () => {
    const waiting = asked;
    [asked, unread] = [[], 0];
    for (let i = 0; i < waiting.length; i++) waiting[i](readLine(readFd));
  };
  const ask = (kind, fields) => { hear(); send(kind, fields); return readLine(readFd); };
  // The answer comes a turn of the event loop later.
  const askLater = (kind, fields) => new RealPromise((answered) => {
    const line = written(kind, fields);
    if (unread + line.length > MOST_UNREAD) hear();
    put(line);
    unread += line.length;
    asked[asked.length] = answered;
    if (asked.length === 1) setImmediate(hear);
  });
  return { job, send, ask, askLater };
}

// The reverse of `bytes`, in an answer; {$t: seconds} is a moment.
function revive(value) {
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.$b === 'string') return BufferFrom(value.$b, 'base64');
  if (typeof value.$t === 'number') return new RealDate(value.$t * 1000);
  const keys = ownKeys(value);
  for (let i = 0; i < keys.length; i++) if (keys[i] !== 'length') value[keys[i]] = revive(value[keys[i]]);
  return value;
}

module.exports = { open, revive };
