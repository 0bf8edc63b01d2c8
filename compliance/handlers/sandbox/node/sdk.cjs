// Stand-ins for the AWS SDK for JavaScript v3: any client, any command, the three libraries.
//
// `start` is given `call(service, operation, parameters)`, which asks the audit and returns the
// service's answer or throws {code, message, status}, `callLater`, which promises it, and `describe(service)`,
// which has what the service model says: {operations, exceptions, pages}, or nothing where there is no model.
'use strict';
const dynamo = require('./dynamo.cjs');
const { awaited } = require('./awaited.cjs');
const { unanswered } = require('./patience.cjs');

let call;
let callLater;
let describe;
const start = (caller, laterCaller, describer) => { [call, callLater, describe] = [caller, laterCaller, describer]; };
const modules = new Map();

// What `require` gives: an object whose members are made when asked for. The proxy sits behind the
// object, as its prototype, where esbuild's and TypeScript's helpers keep it.
function lazy(make) {
  const made = new Map();
  const get = (_, name) => {
    if (typeof name !== 'string') return undefined;
    if (!made.has(name)) made.set(name, make(name));
    return made.get(name);
  };
  const has = (_, name) => get(_, name) !== undefined;
  const module = Object.create(new Proxy({}, { get, has }));
  Object.defineProperty(module, '__esModule', { value: true });
  return module;
}

function named(name, body) {
  Object.defineProperty(body, 'name', { value: name });
  return body;
}

class ServiceException extends Error {
  constructor(options = {}) {
    super(options.message);
    this.name = options.name ?? this.constructor.name;
    this.$fault = options.$fault ?? 'client';
    this.$metadata = options.$metadata ?? {};
  }
}

// One class per error name, shared by all packages, so `instanceof` holds wherever it came from.
const errors = new Map();
function errorClass(name) {
  if (/^\w+ServiceException$/.test(name) || name === 'SmithyServiceException') return ServiceException;
  if (!errors.has(name)) {
    errors.set(name, named(name, class extends ServiceException {
      constructor(options) { super({ ...options, name }); }
    }));
  }
  return errors.get(name);
}

function toError(refusal) {
  const { code, message, status, throttling } = refusal;
  if (code === 'ParamValidation' && status === 0) return new Error(message);
  if (code === 'ECONNRESET') return Object.assign(new Error(message), { code, errno: -104, syscall: 'read' });
  if (code === 'TimeoutError' || code === 'NoAnswer') {
    return Object.assign(new Error(message), { name: 'TimeoutError', $metadata: { attempts: 3, totalRetryDelay: 200 } });
  }
  const $metadata = { httpStatusCode: status, requestId: '00000000-0000-4000-8000-000000000000', attempts: 1,
    totalRetryDelay: 0 };
  const error = new (errorClass(refusal.shape ?? code))({ message, $fault: status >= 500 ? 'server' : 'client', $metadata });
  error.Code = code;
  if (refusal.reasons) error.CancellationReasons = refusal.reasons;
  if (throttling) error.$retryable = { throttling: true };
  return error;
}

class Command {
  constructor(input) { this.input = input ?? {}; this.middlewareStack = middleware(); }
}

const middleware = () => ({
  add() {}, addRelativeTo() {}, use() {}, remove() { return false; }, removeByTag() { return false; },
  clone: middleware, concat: middleware, identify: () => [], identifyOnResolve() { return false; },
});

class Client {
  constructor(config = {}) {
    const value = (v) => async () => v;
    this.raw = config ?? {};
    this.config = { ...config, region: value('us-east-1'), serviceId: this.constructor.service,
      credentials: value({ accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'none' }) };
    this.middlewareStack = middleware();
  }

  send(command, options, callback) {
    const done = typeof options === 'function' ? options : callback;
    const given = typeof options === 'object' ? options ?? {} : {};
    const answer = awaited(() => this.answer(command, given), given.abortSignal);
    if (typeof done !== 'function') return answer;
    answer.then((result) => done(null, result), (error) => done(error));
    return undefined;
  }

  async answer(command, options) {
    const { service, operation } = command?.constructor ?? {};
    if (!operation) throw new TypeError('command.resolveMiddleware is not a function');
    return invoke(this.constructor.service ?? service, operation, command.input, this.raw, options);
  }

  destroy() {}
}

// `async` up to the call itself only where a body has to be read first: the order of calls and the
// line they come from are those of the code.
function invoke(service, operation, input, raw, options) {
  const body = input?.Body;
  if (body && typeof body === 'object' && !ArrayBuffer.isView(body) && (body[Symbol.asyncIterator] || body.stream)) {
    return collect(body).then((bytes) => invokeNow(service, operation, { ...input, Body: bytes }, raw, options));
  }
  return invokeNow(service, operation, input, raw, options);
}

async function invokeNow(service, operation, input, raw = {}, options = {}) {
  let output;
  try {
    output = await callLater(service, operation, input);
  } catch (refusal) {
    if (refusal?.code === 'NoAnswer') return unanswered(raw, options).then(() => { throw toError(refusal); });
    throw refusal?.code ? toError(refusal) : refusal;
  }
  if (output.Body !== undefined) output.Body = bodyStream(output.Body);
  output.$metadata = { httpStatusCode: 200, requestId: '00000000-0000-4000-8000-000000000000', attempts: 1,
    totalRetryDelay: 0 };
  return output;
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream.stream?.() ?? stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

function bodyStream(body) {
  const { Readable } = require('node:stream');
  const bytes = Buffer.from(body);
  return Object.assign(Readable.from([bytes]), {
    transformToString: async (encoding) => bytes.toString(encoding),
    transformToByteArray: async () => new Uint8Array(bytes),
    transformToWebStream: () => new Blob([bytes]).stream(),
  });
}

function commandClass(service, operation) {
  return named(`${operation}Command`, class extends Command {
    static service = service;

    static operation = operation;
  });
}

// `S3`, `DynamoDB`: a client with a method for every command.
function aggregated(Base, service, known) {
  return class extends Base {
    constructor(config) {
      super(config);
      return new Proxy(this, {
        get(target, name, receiver) {
          if (typeof name !== 'string' || name in target || name === 'then') return Reflect.get(target, name, receiver);
          const operation = name[0].toUpperCase() + name.slice(1);
          if (known && !known.has(operation)) return undefined;
          return (input, ...rest) => target.send(new (commandClass(service, operation))(input), ...rest);
        },
      });
    }
  };
}

const ERROR = /(Exception|Error|Fault)$|^(NoSuch\w+|NotFound|\w+DoesNotExist|QueueDoesNotExist|BucketAlready\w+|InvalidObjectState)$/;
const flat = (text) => text.replaceAll('-', '').toLowerCase();

function clientPackage(service) {
  const commandOf = (operation) => (known && !known.has(operation) ? undefined : commandClass(service, operation));
  const Base = named(`${service}Client`, class extends Client { static service = service; });
  const model = describe(service);
  const known = model.operations && new Set(model.operations);
  return lazy((name) => {
    if (/^paginate[A-Z]/.test(name)) return pager(name.slice('paginate'.length), model, commandOf);
    if (/^waitUntil[A-Z]/.test(name)) return waiter(service, name.slice('waitUntil'.length));
    if (name === '$Command') return Command;
    if (!/^[A-Z]/.test(name)) return undefined;
    if (name.endsWith('Command')) return commandOf(name.slice(0, -'Command'.length));
    if (name.endsWith('Client') && flat(name.slice(0, -'Client'.length)) === flat(service)) return named(name, Base);
    if (ERROR.test(name)) return errorClass(name);
    if (flat(name) === flat(service)) return named(name, aggregated(Base, service, known));
    // An enumeration: ServerSideEncryption.AES256, ReturnValue.ALL_OLD.
    return new Proxy({}, { get: (_, member) => (typeof member === 'string' ? member.replaceAll('__', ':') : undefined) });
  });
}

const pager = (operation, model, commandOf) => {
  const { from, to, limit } = model.pages?.[operation] ?? {};
  if (model.pages && !from) return undefined;
  return async function* pages({ client, pageSize, startingToken }, input, ...rest) {
    let token = startingToken;
    do {
      const page = await client.send(new (commandOf(operation))({ ...input,
        ...(token !== undefined && from && { [from[0]]: token }), ...(pageSize && limit && { [limit]: pageSize }) }), ...rest);
      yield page;
      token = to && page[to[0].split(' ')[0]];
    } while (token !== undefined && token !== null);
  };
};

// What a waiter asks for; of any other, nobody here knows when it is done.
const WAITERS = { ObjectExists: 'HeadObject', BucketExists: 'HeadBucket' };
const waiter = (service, name) => async ({ client } = {}, input) => {
  await invokeNow(service, WAITERS[name] ?? `waitUntil${name}`, input, client?.raw);
  return { state: 'SUCCESS', reason: {} };
};

// lib-dynamodb's commands know no attribute values; its client turns them on the way in and out.
const DOCUMENT = { Put: 'PutItem', Get: 'GetItem', Update: 'UpdateItem', Delete: 'DeleteItem', Query: 'Query',
  Scan: 'Scan', BatchWrite: 'BatchWriteItem', BatchGet: 'BatchGetItem', TransactWrite: 'TransactWriteItems',
  TransactGet: 'TransactGetItems', ExecuteStatement: 'ExecuteStatement', BatchExecuteStatement: 'BatchExecuteStatement',
  ExecuteTransaction: 'ExecuteTransaction' };

class DynamoDBDocumentClient extends Client {
  static service = 'dynamodb';

  static from(client, translate) { return new this(client, translate); }

  constructor(client, translate = {}) {
    super();
    this.raw = client?.raw ?? {};
    this.translate = translate;
  }

  async answer(command, options) {
    const { operation, document } = command?.constructor ?? {};
    if (!document) return super.answer(command, options);
    const input = dynamo.lower(command.input, this.translate.marshallOptions);
    const output = await invokeNow('dynamodb', operation, input, this.raw, options);
    return dynamo.raise(output, this.translate.unmarshallOptions);
  }
}

const documentCommand = (name) => named(`${name}Command`, class extends Command {
  static service = 'dynamodb';

  static operation = DOCUMENT[name];

  static document = true;
});

class DynamoDBDocument extends DynamoDBDocumentClient {
  static {
    for (const name of Object.keys(DOCUMENT)) {
      const method = name[0].toLowerCase() + name.slice(1);
      this.prototype[method] = function send(input, ...rest) {
        return this.send(new (documentCommand(name))(input), ...rest);
      };
    }
  }
}

const documentPackage = () => lazy((name) => {
  if (name === 'DynamoDBDocumentClient') return DynamoDBDocumentClient;
  if (name === 'DynamoDBDocument') return DynamoDBDocument;
  if (/^NumberValue/.test(name)) return dynamo.NumberValue;
  if (/^paginate/.test(name)) {
    return pager(name.slice('paginate'.length), describe('dynamodb'), documentCommand);
  }
  const operation = name.replace(/Command$/, '');
  return name.endsWith('Command') && DOCUMENT[operation] ? documentCommand(operation) : undefined;
});

class Upload {
  constructor({ client, params }) { this.client = client; this.params = params; }

  on() { return this; }

  async abort() {}

  async done() {
    const body = this.params?.Body;
    const Body = body?.[Symbol.asyncIterator] || body?.stream ? await collect(body) : body;
    return awaited(async () => invokeNow('s3', 'PutObject', { ...this.params, Body }, this.client?.raw));
  }
}

// Puts up with being called, constructed, awaited, printed and reached into. For what matters by its
// presence only: request handlers, credential providers, names and modules supplied for diagnosis.
function harmless() {
  const target = function standIn() {};
  return new Proxy(target, {
    get(_, name) {
      if (name === Symbol.toPrimitive || name === 'toString' || name === 'toJSON') return () => 'stand-in';
      if (name === Symbol.iterator) return function* none() {};
      if (name === 'then' || typeof name === 'symbol' || name === 'prototype') return target[name];
      return harmless();
    },
    apply: harmless,
    construct: harmless,
  });
}

// Request handlers matter by what they are told of timeouts and sockets.
class RequestHandler {
  static create(options) { return options instanceof this ? options : new this(options); }

  constructor(options) { this.options = options; }

  destroy() {}
}

function make(name) {
  if (name === '@smithy/node-http-handler') {
    return lazy((member) => (/Handler$/.test(member) ? RequestHandler : /^[a-zA-Z]/.test(member) && member !== 'then' ? harmless() : undefined));
  }
  if (name === '@aws-sdk/lib-dynamodb') return documentPackage();
  if (name === '@aws-sdk/lib-storage') return { Upload };
  if (name === '@aws-sdk/util-dynamodb') {
    const { marshall, unmarshall, convertToAttr, convertToNative, NumberValue, NumberValueImpl } = dynamo;
    return { marshall, unmarshall, convertToAttr, convertToNative, NumberValue, NumberValueImpl };
  }
  if (name === '@smithy/smithy-client') return lazy((member) => (member.endsWith('Exception') ? ServiceException
    : member === 'Client' ? Client : member === 'Command' ? Command : undefined));
  const client = /^@aws-sdk\/client-([\w-]+)$/.exec(name);
  if (client) return clientPackage(client[1]);
  if (name === '@aws-sdk/s3-request-presigner') {
    return { getSignedUrl: async (_, { input }) => `https://${input.Bucket}.s3.amazonaws.com/${input.Key}` };
  }
  return lazy((member) => (/^[a-zA-Z]/.test(member) && member !== 'then' ? harmless() : undefined));
}

function standIn(specifier) {
  const name = specifier.split('/').slice(0, 2).join('/');
  if (!modules.has(name)) modules.set(name, make(name));
  return modules.get(name);
}

// The commands of a client's package, by their names.
function commands(specifier) {
  const client = /^@aws-sdk\/client-([\w-]+)$/.exec(specifier);
  return client ? (describe(client[1]).operations ?? []).map((operation) => `${operation}Command`) : [];
}

module.exports = { start, standIn, commands, harmless, named, call: (...args) => call(...args) };
