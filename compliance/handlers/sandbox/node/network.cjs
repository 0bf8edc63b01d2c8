// There is no network. The one thing that is answered is a request to AWS by an SDK that was bundled into
// the code: it is read back into the call that it stands for. (The operating system closes the network as
// well, see lock.py; this holds where it can't, and says so sooner.)
'use strict';
const { EventEmitter } = require('node:events');
const { Readable, Writable } = require('node:stream');
const { syncBuiltinESMExports } = require('node:module');
const { nextTick } = process;

const HOST = /^(?:(?<bucket>.+)\.)?(?<service>s3)[.-](?:[\w-]+\.)?amazonaws\.com$|^(?:\w+\.)?(?<other>[\w-]+)\.[\w-]+\.amazonaws\.com$/;
const PATCHES = { http, https: http, net, tls: connecting, http2: connecting, dgram, dns, 'dns/promises': dns };
const patched = new Set();

const refusal = (what = 'a connection') => Object.assign(
  new Error(`getaddrinfo ENOTFOUND: the sandbox has no network (${what} was asked for)`), { code: 'ENOTFOUND' },
);

let call;
function install(caller) {
  call = caller;
  for (const name of ['WebSocket', 'EventSource']) delete globalThis[name];
  globalThis.fetch = fetch;
  const { getBuiltinModule } = process;
  process.getBuiltinModule = (name) => { builtin(name); return getBuiltinModule.call(process, name); };
}

// Called for each built-in module that is asked for: closes it when it is first.
function builtin(specifier) {
  const name = specifier.replace(/^node:/, '');
  if (!PATCHES[name] || patched.has(name)) return;
  patched.add(name);
  if (name !== 'net' && !name.startsWith('dns') && name !== 'dgram') builtin('net');
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

function http(module) {
  const secure = 'createSecureServer' in module || module.globalAgent?.protocol === 'https:';
  module.request = (...args) => new Request(secure ? 'https:' : 'http:', ...args);
  module.get = (...args) => module.request(...args).end();
}

// -- requests -----------------------------------------------------------------------------------

// As much of http.ClientRequest as SDKs use.
class Request extends Writable {
  constructor(protocol, ...args) {
    super();
    const callback = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    const url = typeof args[0] === 'string' || args[0] instanceof URL ? new URL(args[0]) : {};
    const options = args.find((arg) => arg && typeof arg === 'object' && !(arg instanceof URL)) ?? {};
    this.method = options.method ?? 'GET';
    this.host = (options.hostname ?? options.host ?? url.hostname ?? 'localhost').replace(/:\d+$/, '');
    this.path = options.path ?? `${url.pathname ?? '/'}${url.search ?? ''}`;
    this.headers = new Map();
    for (const [name, value] of Object.entries(options.headers ?? {})) this.setHeader(name, value);
    this.body = [];
    if (callback) this.once('response', callback);
    const socket = Object.assign(new EventEmitter(), { connecting: false, setKeepAlive() {}, setTimeout() {} });
    nextTick(() => {
      this.emit('socket', socket);
      if (this.getHeader('expect')) this.emit('continue');
    });
  }

  setHeader(name, value) { this.headers.set(name.toLowerCase(), `${value}`); return this; }

  getHeader(name) { return this.headers.get(name.toLowerCase()); }

  hasHeader(name) { return this.headers.has(name.toLowerCase()); }

  removeHeader(name) { this.headers.delete(name.toLowerCase()); }

  setTimeout() { return this; }

  setNoDelay() {}

  setSocketKeepAlive() {}

  flushHeaders() {}

  abort() { this.destroy(); }

  _write(chunk, encoding, done) { this.body.push(Buffer.from(chunk, encoding)); done(); }

  _final(done) {
    done();
    const answer = exchange(this.method, this.host, this.path, this.headers, Buffer.concat(this.body));
    if (!answer) { this.destroy(refusal(this.host)); return; }
    const response = Object.assign(Readable.from([Buffer.from(answer.body)]), {
      statusCode: answer.status, statusMessage: '', headers: answer.headers, rawHeaders: [], httpVersion: '1.1', req: this,
    });
    nextTick(() => this.emit('response', response));
  }
}

async function fetch(input, init = {}) {
  const request = typeof input === 'object' && 'url' in input ? input : { url: `${input}`, ...init };
  const url = new URL(request.url);
  const headers = new Map([...new Headers(init.headers ?? request.headers ?? {})]);
  const body = init.body ?? (request.body && request.arrayBuffer ? await request.arrayBuffer() : request.body) ?? '';
  const answer = exchange(request.method ?? 'GET', url.hostname, url.pathname + url.search, headers, Buffer.from(body));
  if (!answer) throw Object.assign(new TypeError('fetch failed'), { cause: refusal(url.hostname) });
  return new Response(answer.body, { status: answer.status, headers: answer.headers });
}

// -- what a request to AWS stands for -----------------------------------------------------------

function exchange(method, host, path, headers, body) {
  const to = HOST.exec(host)?.groups;
  const asked = to && (to.service ? s3(to.bucket, method, path, headers, body) : json(to.other, headers, body));
  if (!asked) return null;
  try {
    return answered(asked, call(asked.service, asked.operation, asked.parameters, true));
  } catch (error) {
    if (!error?.code || error instanceof Error) throw error;
    return refused(asked, error);
  }
}

function json(service, headers, body) {
  const operation = /\.(\w+)$/.exec(headers.get('x-amz-target') ?? '')?.[1];
  if (!operation) return form(service, body);
  const named = service === 'ddb' ? 'dynamodb' : service;
  return { service: named, operation, parameters: JSON.parse(body.toString() || '{}') };
}

function form(service, body) {
  const { Action, Version, ...parameters } = Object.fromEntries(new URLSearchParams(body.toString()));
  return Action && Version ? { service, operation: Action, parameters, xml: true } : null;
}

const HEADERS = { 'content-type': 'ContentType', 'if-none-match': 'IfNoneMatch', 'cache-control': 'CacheControl',
  'x-amz-server-side-encryption': 'ServerSideEncryption', 'x-amz-tagging': 'Tagging', 'x-amz-acl': 'ACL',
  'x-amz-server-side-encryption-aws-kms-key-id': 'SSEKMSKeyId', 'x-amz-storage-class': 'StorageClass' };
const METHODS = { PUT: 'PutObject', GET: 'GetObject', HEAD: 'HeadObject', DELETE: 'DeleteObject' };

function s3(virtual, method, path, headers, body) {
  const url = new URL(path, 'https://s3');
  const parts = url.pathname.slice(1).split('/').map(decodeURIComponent);
  const Bucket = virtual ?? parts.shift();
  const parameters = { Bucket, Key: parts.join('/') };
  const Metadata = {};
  for (const [name, value] of headers) {
    if (HEADERS[name]) parameters[HEADERS[name]] = value;
    if (name.startsWith('x-amz-meta-')) Metadata[name.slice(11)] = value;
  }
  if (Object.keys(Metadata).length) parameters.Metadata = Metadata;
  if (method === 'PUT') {
    parameters.Body = /aws-chunked/.test(headers.get('content-encoding') ?? '') ? unchunked(body) : body;
  }
  return { service: 's3', operation: url.searchParams.get('x-id') ?? METHODS[method] ?? method, parameters, xml: true };
}

function unchunked(body) {
  const chunks = [];
  for (let at = 0; at < body.length;) {
    const end = body.indexOf('\r\n', at);
    const size = parseInt(body.toString('latin1', at, end), 16);
    if (!size) break;
    chunks.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(chunks);
}

function answered({ operation, xml }, output) {
  const { Body, ETag } = output;
  if (!xml) {
    return { status: 200, headers: { 'content-type': 'application/x-amz-json-1.0' },
      body: JSON.stringify(output, (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('base64') : value)) };
  }
  const headers = { 'content-type': 'application/xml', ...(ETag && { etag: ETag }) };
  return { status: 200, headers, body: Body ?? `<${operation}Response><${operation}Result></${operation}Result></${operation}Response>` };
}

function refused({ xml }, { code, message, status }) {
  const body = xml ? `<Error><Code>${code}</Code><Message>${message}</Message></Error>`
    : JSON.stringify({ __type: `com.amazonaws#${code}`, message });
  return { status: status || 400, headers: { 'content-type': xml ? 'application/xml' : 'application/x-amz-json-1.0' }, body };
}

module.exports = { install, builtin };
