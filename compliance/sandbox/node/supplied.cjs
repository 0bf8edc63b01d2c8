// What a diagnostic run supplies although neither the code nor the runtime holds it.
'use strict';
module.exports = { supply: () => ({}) };
