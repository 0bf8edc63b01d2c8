// Where in the handler's own code we are: the innermost stack frame below its root, `index.js:42`.
'use strict';
const RealError = Error;
const { captureStackTrace } = Error;
const startsWith = (text, start) => text.length >= start.length && sliced(text, 0, start.length) === start;
const { apply } = Reflect;
const sliced = ((f) => (text, ...rest) => apply(f, text, rest))(String.prototype.slice);
const { fileURLToPath } = require('node:url');

let root = '/';
const setRoot = (folder) => { root = folder; };

function path(name) {
  if (typeof name !== 'string') return null;
  const file = startsWith(name, 'file://') ? fileURLToPath(name) : name;
  return startsWith(file, `${root}/`) ? sliced(file, root.length + 1) : null;
}

// The call sites of an error or of this very moment, whatever the handler did to Error's own settings.
function sites(error) {
  const [limit, prepare] = [RealError.stackTraceLimit, RealError.prepareStackTrace];
  try {
    RealError.stackTraceLimit = 100;
    RealError.prepareStackTrace = (_, frames) => frames;
    captureStackTrace(error);
    return error.stack ?? [];
  } catch {
    return [];
  } finally {
    RealError.stackTraceLimit = limit;
    RealError.prepareStackTrace = prepare;
  }
}

// `outermost` is for an SDK within the code: what called it is the handler, at the other end.
function here(outermost) {
  const frames = sites({});
  let found = null;
  for (let i = 0; i < frames.length && (outermost || !found); i++) {
    const file = path(frames[i].getFileName());
    if (file) found = `${file}:${frames[i].getLineNumber()}`;
  }
  return found;
}

// The same of an error thrown earlier, from its printed stack.
function ofError(error) {
  const stack = error?.stack;
  if (typeof stack !== 'string') return null;
  const frame = /(?:^|\(|\s)((?:file:\/\/)?\/[^():\n]+|[A-Za-z]:[^():\n]+):(\d+)/g;
  for (let found; (found = frame.exec(stack));) {
    const file = path(found[1]);
    if (file) return `${file}:${found[2]}`;
  }
  return null;
}

module.exports = { setRoot, here, ofError };
