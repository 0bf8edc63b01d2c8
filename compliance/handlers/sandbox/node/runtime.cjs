// Lambda's runtime interface for Node.js: finds the handler, calls it with each event, waits as Lambda waits.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const { setImmediate, setTimeout, clearTimeout } = globalThis;
const { reallyExit, hrtime } = process;
const { stringify } = JSON;
const { apply } = Reflect;
const exit = (code) => apply(reallyExit, process, [code]);
const { unref } = (() => {
  const timer = setTimeout(() => {}, 0);
  clearTimeout(timer);
  return Object.getPrototypeOf(timer);
})();
const where = require('./where.cjs');
const clock = require('./clock.cjs');
const sdk = require('./sdk.cjs');
const awaited = require('./awaited.cjs');
const virtual = require('./virtual.cjs');

const { now } = virtual;

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const NEVER_SETTLED = 'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly '
  + 'caused by a Promise that was never settled.';

// How long is waited for what a handler left going on when it had answered: milliseconds for one
// invocation, for the last one, and for all that wait in vain.
const GRACE = 100;
const LAST_GRACE = 400;
const PATIENCE = 800;
let patience = PATIENCE;

// What the event loop's running dry, or an error that nobody caught, means at this moment.
let whenIdle = () => {};
let whenThrown = () => {};

// Deep enough for the handler's own line to show behind the loader's.
Error.stackTraceLimit = 40;

async function run(job, send, ask) {
  const state = { context: undefined };
  clock.install(job.invocations[0].clock);
  virtual.install();
  supplyNames(job.supplies.names, state);
  globalThis.awslambda = { streamifyResponse: (handler) => Object.assign(handler, { [STREAMING]: 'response' }) };
  process.on('beforeExit', () => { if (!virtual.advance()) whenIdle(); });
  process.on('uncaughtException', (error) => whenThrown(error));
  process.on('unhandledRejection', (error) => whenThrown(error));

  const fail = (error) => { send('load_error', describe(error, job.root)); exit(1); };
  whenThrown = fail;
  whenIdle = () => fail(named('Runtime.NodeJsExit', new Error(NEVER_SETTLED)));
  let handler;
  try {
    handler = await load(job, send);
    if (!handler) exit(0);
  } catch (error) {
    fail(loadError(error));
  }
  send('loaded', {});
  for (let { invocations } = job; ; ({ invocations } = ask('done', {}))) {
    for (let i = 0; i < invocations.length; i++) {
      await invoke(job, invocations[i], handler, state, send, ask);
      await settle(job, i === invocations.length - 1, send);
    }
  }
}

function supplyNames(names, state) {
  for (const name of names) {
    const value = sdk.harmless();
    let own;
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get: () => own ?? (name === 'context' ? state.context : value),
      set: (assigned) => { own = assigned; },
    });
  }
}

// -- finding the handler ------------------------------------------------------------------------

const exists = (file) => fs.existsSync(file) && fs.statSync(file).isFile();

// Is the nearest package.json's `type` "module"? The search ends at node_modules and at the root.
function isModuleFolder(folder, root) {
  if (folder.endsWith('/node_modules')) return false;
  const file = path.join(folder, 'package.json');
  if (exists(file)) {
    try { return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module'; } catch { return false; }
  }
  return folder !== root && folder.startsWith(root) && isModuleFolder(path.dirname(folder), root);
}

function candidates(base, job) {
  const esm = isModuleFolder(path.dirname(base), job.root);
  const order = esm ? ['.js', '.mjs', '.cjs'] : ['', '.js', '.mjs', '.cjs'];
  if (job.version >= 24) order.push('.ts', '.mts', '.cts');
  return order.map((extension) => [base + extension,
    extension === '.mjs' || extension === '.mts' || (esm && ['.js', '.ts'].includes(extension))]);
}

async function load(job, send) {
  const base = path.basename(job.handler);
  const folder = job.handler.slice(0, job.handler.length - base.length);
  const match = /^([^.]*)\.(.+)$/.exec(base);
  if (!match || job.handler.includes('..')) {
    send('missing', { what: `'${job.handler}' is not of the form file.export` });
    return null;
  }
  const [, file, name] = match;
  const found = candidates(path.resolve(job.root, folder, file), job).find(([candidate]) => exists(candidate));
  if (!found) {
    send('missing', { what: `the code has no file ${folder}${file}.js, .mjs or .cjs` });
    return null;
  }
  const [target, esm] = found;
  const module = esm ? await import(pathToFileURL(target).href) : createRequire(`${job.root}/`)(target);
  const handler = name.split('.').reduce((object, key) => object?.[key], module);
  if (typeof handler !== 'function') {
    const what = handler === undefined ? 'does not export' : 'exports something that is no function as';
    send('missing', { what: `${path.relative(job.root, target)} ${what} ${name}` });
    return null;
  }
  if (job.version >= 24 && handler.length >= 3 && !handler[STREAMING]) {
    throw named('Runtime.CallbackHandlerDeprecated', new Error('AWS Lambda has removed support for callback-based '
      + 'function handlers starting with Node.js 24. You need to modify this function to use a supported handler '
      + 'signature: async (event, context).'));
  }
  return handler;
}

// -- one invocation -----------------------------------------------------------------------------

// Both ends of an invocation wait for the audit, which so can tell whose log it reads.
function invoke(job, invocation, handler, state, send, ask) {
  return new Promise((next) => {
    let answered = false;
    ask('begin', {});
    awaited.begin(invocation.pause * 1000);
    clock.shift(invocation.clock);
    const { timeout } = invocation;
    const began = timeout ? virtual.passed() : now(); // the first is the same however busy the machine is
    if (timeout) {
      virtual.begin(timeout, () => fail(named('Sandbox.Timedout',
        new Error(`Task timed out after ${timeout.toFixed(2)} seconds`)), 'fatal'));
    }
    const finish = (kind, fields) => {
      if (answered) return;
      answered = true;
      virtual.answer();
      ask('end', { ...fields, pending: awaited.pending(), elapsed: ((timeout ? virtual.passed() : now()) - began) / 1000 });
      if (kind === 'fatal') {
        send('settled', { idle: true });
        exit(129);
      }
      next();
    };
    const fail = (error, kind) => finish(kind, { error: describe(error, job.root) });
    const succeed = (result) => {
      let text;
      try { text = stringify(result === undefined ? null : result); } catch (error) { return fail(error); }
      return finish('answer', { result: text });
    };
    whenThrown = (error) => fail(error, 'fatal');
    const isAsync = job.version >= 24 || handler.constructor?.name === 'AsyncFunction';
    whenIdle = () => (isAsync ? fail(named('Runtime.NodeJsExit', new Error(NEVER_SETTLED))) : succeed(null));

    const answer = callbacks(fail, succeed);
    const context = makeContext(job, invocation, job.version >= 24 ? {} : answer.context);
    state.context = context;
    try {
      const args = handler[STREAMING] ? [invocation.event, sink(succeed), context] : [invocation.event, context];
      const result = handler(...args, ...(job.version >= 24 ? [] : [answer.callback]));
      if (typeof result?.then === 'function') result.then(succeed, (error) => fail(error));
      else if (job.version >= 24) succeed(result);
    } catch (error) {
      fail(error);
    }
  });
}

// After the answer Lambda freezes the process, and lets it go on when the next event comes. Here it goes on
// at once, so that nothing of it is taken for the next invocation's.
function settle(job, last, send) {
  return new Promise((next) => {
    const began = hrtime();
    let timer;
    const finish = (fields) => {
      virtual.stop();
      [whenIdle, whenThrown] = [() => {}, () => {}];
      const [seconds, nanoseconds] = hrtime(began);
      if (!fields.idle) patience -= seconds * 1e3 + nanoseconds / 1e6;
      send('settled', fields);
      if (fields.error) exit(129);
      clearTimeout(timer);
      setImmediate(next);
    };
    whenIdle = () => finish({ idle: true });
    whenThrown = (error) => finish({ idle: true, error: describe(error, job.root) });
    const grace = last ? LAST_GRACE : GRACE;
    timer = setTimeout(() => finish({ idle: false }), patience < 1 ? 1 : patience < grace ? patience : grace);
    apply(unref, timer, []);
    setImmediate(() => {}); // the loop may be idle already, and would end the process
  });
}

// The callback waits for the event loop to run dry unless the handler asked otherwise; done, succeed
// and fail do not wait. Only the first of all counts.
function callbacks(fail, succeed) {
  let wait = true;
  let called = false;
  const once = (f) => (...args) => { if (!called) { called = true; f(...args); } };
  const done = (error, result) => (error === undefined || error === null ? succeed(result) : fail(error));
  const callback = (error, result) => {
    if (wait && (error === undefined || error === null)) whenIdle = () => succeed(result);
    else done(error, result);
  };
  const context = {
    get callbackWaitsForEmptyEventLoop() { return wait; },
    set callbackWaitsForEmptyEventLoop(value) { wait = Boolean(value); },
    done: once(done),
    succeed: once((result) => succeed(result)),
    fail: once((error) => fail(error ?? 'handled')),
  };
  return { callback: once(callback), context };
}

function sink(succeed) {
  const stream = new (require('node:stream').PassThrough)();
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  stream.on('end', () => succeed(Buffer.concat(chunks).toString()));
  return stream;
}

function makeContext(job, invocation, own) {
  const deadline = now() + invocation.remaining;
  const env = process.env;
  return Object.assign(Object.create(null, Object.getOwnPropertyDescriptors(own)), {
    awsRequestId: invocation.id,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: `arn:aws:lambda:us-east-1:123456789012:function:${env.AWS_LAMBDA_FUNCTION_NAME}`,
    clientContext: undefined,
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, Math.round(deadline - now())),
  });
}

// -- errors -------------------------------------------------------------------------------------

function named(name, error) {
  return Object.defineProperty(error, 'name', { value: name, configurable: true });
}

// Lambda's own wrappings of what can go wrong while loading.
function loadError(error) {
  const kind = error instanceof SyntaxError ? 'Runtime.UserCodeSyntaxError'
    : error?.code === 'MODULE_NOT_FOUND' ? 'Runtime.ImportModuleError' : null;
  if (!kind) return error;
  const wrapped = named(kind, new Error(String(error).replace(/\n- [^\n]*noop\.js$/, '')));
  wrapped.stack = error.stack;
  return wrapped;
}

const slice = ((f) => (text, ...rest) => apply(f, text, rest))(String.prototype.slice);
const replaceAll = ((f) => (text, ...rest) => apply(f, text, rest))(String.prototype.replaceAll);

// The enumerable fields of what was thrown, which the runtime logs as JSON beside name and message.
function fieldsOf(error) {
  const open = (_, value) => (value instanceof Error ? { errorMessage: value.message, ...value } : value);
  try {
    return error !== null && typeof error === 'object' ? stringify({ ...error }, open) : '';
  } catch {
    return '';
  }
}

function describe(error, root) {
  const text = (value) => slice(replaceAll(`${value}`, root, '/var/task'), 0, 8192);
  try {
    const isError = error !== null && typeof error === 'object' && 'message' in error;
    return {
      kind: text(isError ? error.name ?? 'Error' : typeof error),
      message: text(isError ? error.message : error),
      at: where.ofError(error),
      fields: text(fieldsOf(error)),
    };
  } catch {
    return { kind: 'unknown', message: 'something was thrown that cannot be described', at: null };
  }
}

module.exports = { run };
