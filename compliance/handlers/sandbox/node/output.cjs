// Standard output and error, written at once: what Node buffers of a pipe would be lost when the process
// ends, or be read as the next invocation's.
'use strict';
const { writeSync } = require('node:fs');

const OWN = ['ExperimentalWarning', 'DeprecationWarning'];

// As much of a stream as the console uses.
const sink = (write) => ({ write, isTTY: undefined, listenerCount: () => 1, once() {}, removeListener() {} });

// Such a sink for the console, whose other members are the stream's, for code that uses it itself.
function lazily(name, put) {
  const of = (member) => (typeof member === 'function' ? member.bind(process[name]) : member);
  const write = (text, ...rest) => {
    if (typeof text !== 'string' || typeof rest[0] === 'string') return process[name].write(text, ...rest);
    put(Buffer.from(text));
    if (rest[0]) process.nextTick(rest[0]);
    return true;
  };
  return new Proxy(sink(write), { get: (known, member) => (member in known ? known[member] : of(process[name][member])) });
}

function install() {
  // The console's first line looks for colors in process.stderr, which would make that stream.
  console._stdout = sink(() => {});
  Object.defineProperty(process, 'stderr', { value: console._stdout, configurable: true });
  console.log();
  for (const [fd, name] of [[1, 'stdout'], [2, 'stderr']]) {
    const put = (chunk) => {
      for (let sent = 0; sent < chunk.length;) sent += writeSync(fd, chunk, sent, chunk.length - sent);
    };
    // The console needs no stream, which takes longer to load than all of this folder, until the code has one.
    console[`_${name}`] = lazily(name, put);
    let stream;
    const made = () => {
      const { Writable } = require('node:stream');
      const write = (chunk, _, done) => { put(chunk); done(); };
      return Object.assign(new Writable({ decodeStrings: true, write }), { fd });
    };
    Object.defineProperty(process, name, { get: () => (stream ??= console[`_${name}`] = made()), configurable: true });
  }
  // Node's own warnings are switched off: they are about the sandbox. What the code warns of is in its log.
  process.on('warning', ({ name, message }) => {
    if (!OWN.includes(name)) console._stderr.write(`(node:${process.pid}) ${name}: ${message}\n`);
  });
}

module.exports = { install };
