// What a diagnostic run supplies although neither the code nor the runtime holds it: SDK v2 and uuid
// so far as handlers use them, and of anything else something that puts up with everything.
'use strict';
const crypto = require('node:crypto');
const dynamo = require('./dynamo.cjs');
const sdk = require('./sdk.cjs');

const DOCUMENT = { put: 'PutItem', get: 'GetItem', update: 'UpdateItem', delete: 'DeleteItem', query: 'Query',
  scan: 'Scan', batchWrite: 'BatchWriteItem', batchGet: 'BatchGetItem', transactWrite: 'TransactWriteItems',
  transactGet: 'TransactGetItems' };
const MARSHALLING = { removeUndefinedValues: true, convertClassInstanceToMap: true, allowImpreciseNumbers: true };

// SDK v2 sends nothing before it is asked for a promise or given a callback.
class Request {
  constructor(make) { this.make = make; }

  promise() { return new Promise((resolve) => { resolve(this.answer()); }); }

  send(callback) { this.promise().then((data) => callback?.(null, data), (error) => callback?.(error, null)); }

  on() { return this; }

  answer() {
    try {
      return this.make();
    } catch (refusal) {
      if (!refusal?.code) throw refusal;
      const { code, message, status, throttling } = refusal;
      throw Object.assign(new Error(message), { name: code, statusCode: status, retryable: Boolean(throttling),
        code: code === 'ParamValidation' ? 'MissingRequiredParameter' : code });
    }
  }
}

const request = (make) => (input, callback) => {
  const made = new Request(() => make(input ?? {}));
  if (typeof callback === 'function') made.send(callback);
  return made;
};

function clientClass(name) {
  const service = name.toLowerCase();
  const call = (operation) => request((input) => sdk.call(service, operation, input));
  return sdk.named(name, class {
    constructor(config) {
      return new Proxy(this, {
        get: (target, method) => {
          if (method === 'config') return config ?? {};
          if (typeof method !== 'string' || method === 'then' || method in target) return target[method];
          if (method === 'getSignedUrl') return () => 'https://example.amazonaws.com/';
          if (method === 'waitFor') return request(() => ({}));
          if (method === 'upload') return call('PutObject');
          return call(method[0].toUpperCase() + method.slice(1));
        },
      });
    }
  });
}

class DocumentClient {
  static {
    for (const [method, operation] of Object.entries(DOCUMENT)) {
      this.prototype[method] = request((input) => dynamo.raise(
        sdk.call('dynamodb', operation, dynamo.lower(input, MARSHALLING)),
      ));
    }
  }

  createSet(values) { return new Set(values); }
}

function awsSdk() {
  const clients = { config: { update() {}, region: 'us-east-1' }, Config: class {}, Credentials: class {} };
  return new Proxy(clients, {
    get(target, name) {
      if (typeof name !== 'string' || name in target || !/^[A-Z]/.test(name)) return target[name];
      target[name] = clientClass(name);
      if (name === 'DynamoDB') {
        target[name].DocumentClient = DocumentClient;
        target[name].Converter = {
          marshall: (data) => dynamo.marshall(data, MARSHALLING), unmarshall: (data) => dynamo.unmarshall(data),
          input: (data) => dynamo.convertToAttr(data, MARSHALLING), output: (data) => dynamo.convertToNative(data),
        };
      }
      return target[name];
    },
    has: (target, name) => name in target || (typeof name === 'string' && /^[A-Z]/.test(name)),
  });
}

function uuid() {
  const v4 = () => crypto.randomUUID();
  const hashed = (name, space = '') => {
    const hex = crypto.createHash('sha1').update(`${space}${name}`).digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  };
  const shape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
  return Object.assign(() => v4(), { v1: v4, v3: hashed, v4, v5: hashed, v6: v4, v7: v4, NIL:
    '00000000-0000-0000-0000-000000000000', validate: (text) => shape.test(text), version: (text) => Number(text[14]) });
}

const AWS = awsSdk();

function supply(specifier) {
  if (specifier === 'aws-sdk') return AWS;
  const client = /^aws-sdk\/clients\/(\w+)/.exec(specifier);
  if (client) {
    const name = ['S3', 'SQS', 'SNS', 'DynamoDB', 'CloudWatch', 'EventBridge', 'Lambda', 'SecretsManager']
      .find((known) => known.toLowerCase() === client[1]) ?? client[1];
    return client[1] === 'dynamodb' ? AWS.DynamoDB : AWS[name];
  }
  if (specifier.split('/')[0] === 'uuid') return uuid();
  return sdk.harmless();
}

module.exports = { supply };
