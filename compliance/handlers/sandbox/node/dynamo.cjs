// @aws-sdk/util-dynamodb: plain values to attribute values and back, with its options and its errors.
'use strict';

class NumberValue {
  constructor(value) { this.value = `${value?.N ?? value}`; }
  static from(value) { return new NumberValue(value); }
  toAttributeValue() { return { N: this.value }; }
  toString() { return this.value; }
}

const BOXED = { Boolean: 'boolean', Number: 'number', BigInt: 'bigint', String: 'string' };
const isBinary = (data) => ArrayBuffer.isView(data) || data instanceof ArrayBuffer
  || (typeof Blob === 'function' && data instanceof Blob);
const isPlain = (data) => [null, Object.prototype].includes(Object.getPrototypeOf(data))
  || data.constructor?.name === 'Object';

function toAttr(data, options) {
  if (data === undefined) {
    throw new Error('Pass options.removeUndefinedValues=true to remove undefined values from map/array/set.');
  }
  if (data === null) return { NULL: true };
  if (Array.isArray(data)) return { L: keep(data, options).map((item) => toAttr(item, options)) };
  if (data instanceof Set) return setToAttr(data, options);
  if (data instanceof Map) return { M: mapToAttr(data, options) };
  if (data instanceof NumberValue) return data.toAttributeValue();
  if (isBinary(data)) {
    return data.byteLength === 0 && options.convertEmptyValues ? { NULL: true } : { B: data };
  }
  switch (typeof data === 'object' ? BOXED[data.constructor?.name] : typeof data) {
    case 'boolean': return { BOOL: data.valueOf() };
    case 'number': return numberToAttr(data.valueOf(), options);
    case 'bigint': return { N: `${data}` };
    case 'string':
      return data.length === 0 && options.convertEmptyValues ? { NULL: true } : { S: data.valueOf() };
    default:
  }
  if (typeof data === 'object' && (isPlain(data) || options.convertClassInstanceToMap)) {
    return { M: mapToAttr(Object.entries(data), options) };
  }
  throw new Error(`Unsupported type passed: ${String(data)}. Pass options.convertClassInstanceToMap=true `
    + 'to marshall typeof object as map attribute.');
}

const keep = (values, options) => values.filter((item) => typeof item !== 'function'
  && !(item === undefined && options.removeUndefinedValues));

function mapToAttr(entries, options) {
  const map = {};
  for (const [key, value] of entries) {
    if (keep([value], options).length) map[key] = toAttr(value, options);
  }
  return map;
}

function numberToAttr(number, options) {
  if ([Number.NaN, Infinity, -Infinity].some((special) => Object.is(special, number))) {
    throw new Error(`Special numeric value ${number} is not allowed`);
  }
  if (Math.abs(number) > Number.MAX_SAFE_INTEGER && !options.allowImpreciseNumbers) {
    throw new Error(`Number ${number} is ${number > 0 ? 'greater than Number.MAX' : 'lesser than Number.MIN'}`
      + '_SAFE_INTEGER. Use NumberValue from @aws-sdk/lib-dynamodb.');
  }
  return { N: `${number}` };
}

function setToAttr(set, options) {
  const values = keep([...set], options);
  if (values.length === 0) {
    if (options.convertEmptyValues) return { NULL: true };
    throw new Error('Pass a non-empty set, or options.convertEmptyValues=true.');
  }
  if (values.includes(undefined)) return toAttr(undefined, options);
  const [first] = values;
  if (first instanceof NumberValue) return { NS: values.map(String) };
  if (typeof first === 'string') return { SS: values };
  if (['number', 'bigint'].includes(typeof first)) return { NS: values.map((n) => toAttr(n, options).N) };
  if (isBinary(first)) return { BS: values };
  throw new Error('Only Number Set (NS), Binary Set (BS), String Set (SS) are allowed.');
}

function marshall(data, options = {}) {
  const attribute = toAttr(data, options);
  const [[type, value]] = Object.entries(attribute);
  return ['M', 'L'].includes(type) && !options.convertTopLevelContainer ? value : attribute;
}

function toNative(attribute, options) {
  const [[type, value] = []] = Object.entries(attribute ?? {}).filter(([, v]) => v !== undefined);
  switch (type) {
    case 'NULL': return null;
    case 'BOOL': return Boolean(value);
    case 'N': return toNumber(value, options);
    case 'B': case 'S': return value;
    case 'L': return value.map((item) => toNative(item, options));
    case 'M': return unmarshall(value, options);
    case 'NS': return new Set(value.map((item) => toNumber(item, options)));
    case 'BS': case 'SS': return new Set(value);
    default: throw new Error(`Unsupported type passed: ${type}`);
  }
}

function toNumber(text, options) {
  if (typeof options?.wrapNumbers === 'function') return options.wrapNumbers(text);
  if (options?.wrapNumbers) return NumberValue.from(text);
  const number = Number(text);
  if (Number.isFinite(number) && Math.abs(number) > Number.MAX_SAFE_INTEGER) return BigInt(text);
  return number;
}

function unmarshall(data, options = {}) {
  if (options.convertWithoutMapWrapper) return toNative(data, options);
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, toNative(value, options)]));
}

// lib-dynamodb: the members that hold items, wherever they stand in an input or an output.
const MAPS = ['Item', 'Key', 'ExpressionAttributeValues', 'ExclusiveStartKey', 'Attributes', 'LastEvaluatedKey'];

function throughout(node, convert, inResponses = false) {
  if (Array.isArray(node)) {
    return node.map((item) => (inResponses && !item?.Item ? convert(item) : throughout(item, convert)));
  }
  if (node === null || typeof node !== 'object' || !isPlain(node)) return node;
  const copy = {};
  for (const [key, value] of Object.entries(node)) {
    if (value && MAPS.includes(key)) copy[key] = convert(value);
    else if (Array.isArray(value) && ['Items', 'Keys', 'Parameters'].includes(key)) copy[key] = value.map(convert);
    else copy[key] = throughout(value, convert, inResponses || key === 'Responses');
  }
  return copy;
}

const lower = (input, options = {}) => {
  const inner = { ...options, convertTopLevelContainer: false };
  return throughout(input, (value) => (Object.getPrototypeOf(value) === String.prototype ? value
    : marshall(value, inner)));
};
const raise = (output, options = {}) => throughout(output, (value) => unmarshall(value, options));

module.exports = {
  marshall, unmarshall, convertToAttr: (data, options = {}) => toAttr(data, options),
  convertToNative: toNative, NumberValue, NumberValueImpl: NumberValue, lower, raise,
};
