// Runs a Node.js handler as Lambda's runtime would, with stand-ins for AWS. Started by child.py.
'use strict';
const wire = require('./wire.cjs');
const where = require('./where.cjs');
const sdk = require('./sdk.cjs');
const runtime = require('./runtime.cjs');
const modules = require('./modules.cjs');
const network = require('./network.cjs');
const awaited = require('./awaited.cjs');
const { skipped } = require('./virtual.cjs');
require('./output.cjs').install();

const [readFd, writeFd] = process.argv.slice(2).map(Number);
const { job, send, ask, askLater } = wire.open(readFd, writeFd);
process.argv.length = 1;

where.setRoot(job.root);
const { hasOwn } = Object;
const opened = (answer) => {
  if (hasOwn(answer, 'error')) throw answer.error;
  return wire.revive(answer.ok);
};
const call = awaited.counted((service, operation, parameters, bundled = false) => (
  opened(ask('call', { service, operation, parameters, at: where.here(bundled), skipped: skipped() / 1000 }))));
const callLater = awaited.counted(async (service, operation, parameters) => (
  opened(await askLater('call', { service, operation, parameters, at: where.here(), skipped: skipped() / 1000 }))));
// A signal would reach the audit itself.
for (const name of ['_kill', '_debugProcess', '_debugEnd']) {
  const signal = process[name];
  process[name] = (pid, ...rest) => (pid === process.pid ? signal.call(process, pid, ...rest) : -1);
}
// /etc/passwd, which it would be read from, is out of reach.
require('node:os').homedir = () => '/home/sbx_user1051';
// So is /proc/self, where Node looks up how large the process is.
const rss = () => process.resourceUsage().maxRSS * 1024;
process.memoryUsage = Object.assign(() => {
  const { total_heap_size: heapTotal, used_heap_size: heapUsed, external_memory: external } = require('node:v8').getHeapStatistics();
  return { rss: rss(), heapTotal, heapUsed, external, arrayBuffers: 0 };
}, { rss });
require('./patience.cjs').start(job.attempts);
sdk.start(call, callLater, (name) => ask('service', { name }));
network.install(call);
modules.install(job, send);
for (const name of Object.keys(process.env)) delete process.env[name];
Object.assign(process.env, job.environment);
send('ready', {});
runtime.run(job, send, ask);
