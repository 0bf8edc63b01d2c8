// Which modules there are: what Lambda's runtime ships is stood in for, the code's own are loaded,
// anything else is missing as it is missing on Lambda.
'use strict';
const { registerHooks, isBuiltin, createRequire } = require('node:module');
const { readFileSync } = require('node:fs');
const { fileURLToPath, pathToFileURL } = require('node:url');
const sdk = require('./sdk.cjs');
const network = require('./network.cjs');

const SCHEME = 'standin:';
const BARE = /^(?![./]|[a-z]+:|#)/;
const packageName = (specifier) => specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');

function install(job, send) {
  const newest = job.version >= 18;
  const supplied = new Set(job.supplies.modules);
  const reported = new Set();

  const report = (name, found) => {
    if (!reported.has(name)) send('module', { name, found });
    reported.add(name);
  };
  const stoodIn = (name) => {
    if (supplied.has(name)) return true;
    if (name.startsWith('@aws-sdk/') || name.startsWith('@smithy/')) return newest;
    return name === 'aws-sdk' && !newest;
  };
  const standIn = (name) => (/^@(aws-sdk|smithy)\//.test(name) ? sdk.standIn(name) : require('./supplied.cjs').supply(name));
  Object.defineProperty(globalThis, Symbol.for(SCHEME), { value: standIn });

  // In the code, then where Lambda's NODE_PATH has the layers.
  const layers = job.opt ? [`nodejs/node${job.version}`, 'nodejs'].map((at) => `${pathToFileURL(job.opt)}/${at}/index.js`) : [];
  const resolved = (specifier, context, next) => {
    try {
      return next(specifier, context);
    } catch (error) {
      for (const parentURL of layers.includes(context.parentURL) ? [] : layers) {
        try {
          if (!context.conditions.includes('require')) return next(specifier, { ...context, parentURL });
          return next(createRequire(parentURL).resolve(specifier), context);
        } catch { /* nor in this one */ }
      }
      throw error;
    }
  };

  registerHooks({
    resolve(specifier, context, next) {
      if (isBuiltin(specifier)) network.builtin(specifier);
      if (job.opt && specifier.startsWith('/opt/')) return next(job.opt + specifier.slice('/opt'.length), context);
      if (!BARE.test(specifier) || isBuiltin(specifier)) return next(specifier, context);
      const name = packageName(specifier);
      if (stoodIn(name)) {
        report(name, true);
        const required = context.conditions.includes('require');
        const url = `${SCHEME}${specifier}?${required ? 'require' : context.parentURL}`;
        return { url, format: required ? 'commonjs' : 'module', shortCircuit: true };
      }
      try {
        const found = resolved(specifier, context, next);
        report(name, true);
        return found;
      } catch (error) {
        report(name, false);
        throw error;
      }
    },
    load(url, context, next) {
      if (!url.startsWith(SCHEME)) return next(url, context);
      const [specifier, importer] = url.slice(SCHEME.length).split('?');
      const found = `globalThis[Symbol.for('${SCHEME}')](${JSON.stringify(specifier)})`;
      if (importer === 'require') return { source: `module.exports = ${found};`, format: 'commonjs', shortCircuit: true };
      const names = wanted(importer, standIn(specifier), sdk.commands(specifier));
      return { source: esModule(found, names), format: 'module', shortCircuit: true };
    },
  });
}

// An ES module must name its exports before it runs. The importer says which it may want: every
// identifier in its text that the stand-in has an answer to; of a whole module, every command too.
function wanted(importer, module, commands) {
  const text = importer.startsWith('file:') ? readFileSync(fileURLToPath(importer), 'utf8') : '';
  const names = new Set([...text.match(/[A-Za-z_$][\w$]*/g) ?? [], ...(/\*\s*as\b|\bimport\s*\(/.test(text) ? commands : [])]);
  return [...names].filter((name) => name !== 'default' && name in module && !(name in Object.prototype));
}

const esModule = (found, names) => [
  `const m = ${found};`,
  'export default m;',
  ...names.map((name, i) => `const _${i} = m.${name}; export { _${i} as ${name} };`),
].join('\n');

module.exports = { install };
