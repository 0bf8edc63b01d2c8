// Requests to AWS by an SDK that was bundled into the code, and their answers. Loaded when the code has the means
// to send one.
'use strict';
const { EventEmitter } = require('node:events');
const { Readable, Writable } = require('node:stream');
const { refusal, call } = require('./network.cjs');
const { nextTick } = process;

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

// The audit reads it back into the call that it stands for, and says what the response is (wire.py).
function exchange(method, host, path, headers, body) {
  if (!/\.amazonaws\.com$/.test(host)) return null;
  try {
    const response = call('http', method, { method, host, path, headers: Object.fromEntries(headers),
      body: body.toString('base64') }, true);
    return { ...response, body: Buffer.from(response.body, 'base64') };
  } catch (error) {
    if (!error?.code || error instanceof Error) throw error;
    if (error.code === 'NotStoodIn') return { status: 501, headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ __type: error.code, message: error.message }) };
    return null;
  }
}

module.exports = { Request, fetch };
