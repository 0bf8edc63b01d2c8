// Standard output and error, written at once: what Node buffers of a pipe would be lost when the process
// ends, or be read as the next invocation's.
'use strict';
const { writeSync } = require('node:fs');
const { Writable } = require('node:stream');

const OWN = ['ExperimentalWarning', 'DeprecationWarning'];

function install() {
  for (const [fd, name] of [[1, 'stdout'], [2, 'stderr']]) {
    const stream = new Writable({
      decodeStrings: true,
      write(chunk, _, done) {
        for (let sent = 0; sent < chunk.length;) sent += writeSync(fd, chunk, sent, chunk.length - sent);
        done();
      },
    });
    Object.defineProperty(process, name, { value: Object.assign(stream, { fd }), configurable: true });
  }
  // Node's own warnings are switched off: they are about the sandbox. What the code warns of is in its log.
  process.on('warning', ({ name, message }) => {
    if (!OWN.includes(name)) process.stderr.write(`(node:${process.pid}) ${name}: ${message}\n`);
  });
}

module.exports = { install };
