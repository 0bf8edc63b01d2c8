// Standard output and error, written at once: what Node buffers of a pipe would be lost when the process
// ends, or be read as the next invocation's.
'use strict';
const { writeSync } = require('node:fs');

const OWN = ['ExperimentalWarning', 'DeprecationWarning'];

function install() {
  for (const [fd, name] of [[1, 'stdout'], [2, 'stderr']]) {
    const put = (chunk) => {
      for (let sent = 0; sent < chunk.length;) sent += writeSync(fd, chunk, sent, chunk.length - sent);
    };
    // The console needs no stream, which takes longer to load than all of this folder, until the code has one.
    console[`_${name}`] = { write: (text) => put(Buffer.from(text)), listenerCount: () => 1, once() {}, removeListener() {} };
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
