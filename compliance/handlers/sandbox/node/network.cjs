// There is no network. The one thing that is answered is a request to AWS by an SDK that was bundled into
// the code: it is read back into the call that it stands for (requests.cjs). (The operating system closes the network as
// well, see lock.py; this holds where it can't, and says so sooner.)
'use strict';
const { syncBuiltinESMExports } = require('node:module');
const { skipping } = require('./virtual.cjs');
const { nextTick } = process;

const PATCHES = { http, https: http, net, tls: connecting, http2: connecting, dgram, dns, 'dns/promises': dns,
  perf_hooks: skipping, fs: files, 'fs/promises': writing, worker_threads: threads };
const USE_NET = ['http', 'https', 'http2', 'tls'];
const patched = new Set();

const refusal = (what = 'a connection') => Object.assign(
  new Error(`getaddrinfo ENOTFOUND: the sandbox has no network (${what} was asked for)`), { code: 'ENOTFOUND' },
);

let caller;
const call = (...args) => caller(...args);
function install(given) {
  caller = given;
  for (const name of ['WebSocket', 'EventSource']) delete globalThis[name];
  globalThis.fetch = async function fetch(input, ...init) { return require('./requests.cjs').fetch(input, ...init); };
  const { getBuiltinModule } = process;
  process.getBuiltinModule = (name) => { builtin(name); return getBuiltinModule.call(process, name); };
}

// Called for each built-in module that is asked for: closes or changes it when it is first.
function builtin(specifier) {
  const name = specifier.replace(/^node:/, '');
  if (!PATCHES[name] || patched.has(name)) return;
  patched.add(name);
  if (USE_NET.includes(name)) builtin('net');
  PATCHES[name](require(name));
  syncBuiltinESMExports();
}

function net(module) {
  module.Socket.prototype.connect = function connect() { return this.destroy(refusal()); };
  module.Server.prototype.listen = () => { throw refusal('a server'); };
}

function connecting(module) { module.connect = () => { throw refusal(); }; }

function dgram(module) {
  for (const name of ['bind', 'connect', 'send']) module.Socket.prototype[name] = () => { throw refusal(name); };
}

function dns(module) {
  const asked = (...args) => {
    const callback = args.at(-1);
    if (typeof callback === 'function') nextTick(callback, refusal(args[0]));
    else return Promise.reject(refusal(args[0]));
    return undefined;
  };
  const close = (object) => {
    for (const name of Object.getOwnPropertyNames(object)) {
      if (/^(lookup|resolve|reverse)/.test(name)) object[name] = asked;
    }
  };
  [module, module.promises ?? {}, module.Resolver?.prototype ?? {}].forEach(close);
}

// Files under /tmp and threads, which there are on Lambda: asking for one is a call that has no answer.
const WRITES = /^(open|writeFile|appendFile|createWriteStream|mkdir|mkdtemp|copyFile|cp|rename)(Sync)?$/;
const TEMPORARY = /^(file:\/\/)?\/tmp(\/|$)/;

function files(module) {
  writing(module);
  builtin('fs/promises');
}

function writing(module) {
  for (const name of Object.keys(module).filter((each) => WRITES.test(each))) {
    const real = module[name];
    const paths = /^(copy|cp|rename)/.test(name) ? 2 : 1;
    module[name] = function asked(...args) {
      if (args.slice(0, paths).some((path) => TEMPORARY.test(path))) call('tmp', 'write', {});
      return Reflect.apply(real, this, args);
    };
  }
}

function threads(module) {
  module.Worker = class Worker { constructor() { call('worker_threads', 'Worker', {}); } };
}

function http(module) {
  const { Request } = require('./requests.cjs');
  const secure = 'createSecureServer' in module || module.globalAgent?.protocol === 'https:';
  module.request = (...args) => new Request(secure ? 'https:' : 'http:', ...args);
  module.get = (...args) => module.request(...args).end();
}

module.exports = { install, builtin, refusal, call };
