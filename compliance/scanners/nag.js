// cdk-nag, on any template: CfnInclude makes constructs of it, and the rule packs walk them.
// A line of JSON on stdin says what to scan, a line on stdout what was found; see __init__.py.
// node nag.js CACHE, where CACHE/node_modules has the packages; see nag.py.
'use strict';
const fs = require('fs');
const module_ = require('module');
const os = require('os');
const path = require('path');

const report = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // what libraries print is no report
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
os.setPriority(5); // the synth, which everything waits for, comes first

const cache = process.argv[2];
module_.enableCompileCache?.(path.join(cache, 'compiled')); // Node 22 has it: a third of the time
const load = module_.createRequire(path.join(cache, 'node_modules', 'of-the-cache.js'));
const { App, Stack, CfnResource } = load('aws-cdk-lib/core');
const { CfnInclude } = load('aws-cdk-lib/cloudformation-include');
const nag = load('cdk-nag');
const { version } = load('cdk-nag/package.json');

// A missing property is for cfn-lint to report, on its resource. To CDK it would be the end of all.
load(path.join(path.dirname(load.resolve('aws-cdk-lib/core')), 'lib', 'runtime.js')).requireProperty = () => {};

const RULES = 'https://github.com/cdklabs/cdk-nag/blob/main/RULES.md';
const PACKS = {
  AwsSolutions: { make: nag.AwsSolutionsChecks, anchor: 'aws-solutions', canary: ['SQS4', 'S1', 'IAM5[Action::s3:*]'] },
  Serverless: { make: nag.ServerlessChecks, anchor: 'serverless', canary: ['SQSRedrivePolicy', 'LambdaDefaultTimeout'] },
  'HIPAA.Security': { make: nag.HIPAASecurityChecks, anchor: 'hipaa-security', canary: ['S3BucketLoggingEnabled'] },
  'NIST.800.53.R4': { make: nag.NIST80053R4Checks, anchor: 'nist-800-53-rev-4', canary: ['S3BucketLoggingEnabled'] },
  'NIST.800.53.R5': { make: nag.NIST80053R5Checks, anchor: 'nist-800-53-rev-5', canary: ['S3BucketLoggingEnabled'] },
  'PCI.DSS.321': { make: nag.PCIDSS321Checks, anchor: 'pci-dss-321', canary: ['S3BucketLoggingEnabled'] },
};
const CRASHED = 'Rule threw an error';
const UNREADABLE = 'CdkNag-UnreadableTemplate';

// The rules of all packs that have been applied to some resource of a template, and the resources to which one
// applies: it is compliant there, or not.
const applied = new Set();
const judged = new Set();

// Functions of the AWS::LanguageExtensions transform that CfnInclude does not know. No rule looks into
// them, so one that CfnInclude lets pass unread stands in for them.
const UNKNOWN = ['Fn::ToJsonString', 'Fn::Length', 'Fn::GetStackOutput', 'Fn::ForEach'];

function readable(node) {
  if (Array.isArray(node)) return node.map(readable);
  if (node === null || typeof node !== 'object') return node;
  const name = Object.keys(node).find((key) => UNKNOWN.includes(key));
  if (name) return { 'Fn::Transform': { Name: name, Parameters: {} } };
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, readable(value)]));
}

function include(app, file) {
  const template = readable(JSON.parse(fs.readFileSync(file.path, 'utf8')));
  // Neither says anything of a resource: CDK's check of its bootstrap stack, and what rules it there is.
  delete template.Rules;
  delete (template.Parameters ?? {}).BootstrapVersion;
  const copy = path.join(process.cwd(), 'included.json'); // a folder of this process's own
  try {
    fs.writeFileSync(copy, JSON.stringify(template));
    const stack = new Stack(app, 'S');
    new CfnInclude(stack, 'T', { templateFile: copy });
    const count = stack.node.findAll().filter((node) => CfnResource.isCfnResource(node)).length;
    const wanted = Object.keys(template.Resources).length;
    if (count !== wanted) throw new Error(`${count} of ${wanted} resources were included`);
  } finally {
    fs.rmSync(copy, { force: true });
  }
}

// The logical id of a construct that CfnInclude has made.
const id = (constructPath) => constructPath.split('/').at(-1);

// Every violation that one pack finds below a construct.
function check(name, scope) {
  const run = (props) => {
    const pack = new PACKS[name].make(undefined, props);
    const applyRule = pack.applyRule;
    pack.applyRule = function (params) {
      const { rule, ruleSuffixOverride = rule.name } = params;
      applied.add(`${name}-${ruleSuffixOverride}`);
      const noted = (of) => {
        const result = rule(of);
        if (result !== nag.NagRuleCompliance.NOT_APPLICABLE && CfnResource.isCfnResource(of)) judged.add(id(of.node.path));
        return result;
      };
      return applyRule.call(this, { ...params, rule: noted, ruleSuffixOverride });
    };
    return pack.validateScope(scope).violations;
  };
  const violations = run({});
  if (!violations.some((violation) => violation.description.startsWith(CRASHED))) return violations;
  // Only the verbose form says what went wrong, and it says too much of everything else.
  const verbose = new Map(run({ verbose: true }).map(({ ruleName, description }) => [ruleName, description]));
  return violations.map((violation) =>
    violation.description.startsWith(CRASHED)
      ? { ...violation, description: verbose.get(violation.ruleName) }
      : violation,
  );
}

// A template that CDK refuses, CloudFormation would too: that is a finding on it, not a scanner's failure.
function unreadable(error) {
  const text = `cdk-nag could not read this template: ${error.message}`;
  return { logical_id: null, rule: UNREADABLE, text, severity: 'high', link: RULES };
}

function scan(file, packs) {
  const app = new App();
  try {
    include(app, file);
  } catch (error) {
    if (error.syscall) throw error; // the disk's fault, not the template's
    return [unreadable(error)];
  }
  return packs.flatMap((name) =>
    check(name, app).flatMap((violation) =>
      violation.violatingResources.map(({ constructPath }) => ({
        logical_id: id(constructPath),
        rule: violation.ruleName,
        text: violation.description,
        severity: violation.severity === 'error' ? 'high' : 'medium',
        link: `${RULES}#${PACKS[name].anchor}`,
      })),
    ),
  );
}

// `include` has counted the resources, and a template that is not readable is a finding as a whole.
function scanned(file, packs) {
  applied.clear();
  judged.clear();
  const findings = scan(file, packs);
  const resources = Object.keys(JSON.parse(fs.readFileSync(file.path, 'utf8')).Resources).length;
  return { stack: file.stack, version, evaluated: applied.size, resources, judged: [...judged], findings };
}

function prove(packs) {
  const canary = { stack: 'canary', path: path.join(__dirname, 'canary.json') };
  const found = new Set(scan(canary, packs).map((finding) => finding.rule));
  for (const name of packs) {
    const missed = PACKS[name].canary.filter((rule) => !found.has(`${name}-${rule}`));
    if (missed.length) throw new Error(`it misses known flaws of its test template: ${name}-${missed}`);
  }
}

const USUAL = ['AwsSolutions', 'Serverless'];
prove(USUAL); // while the templates are still being made
const { templates, packs } = JSON.parse(fs.readFileSync(0, 'utf8'));
const unknown = packs.find((name) => !(name in PACKS));
if (unknown) throw new Error(`it has no rule pack ${unknown}`);
prove(packs.filter((name) => !USUAL.includes(name)));
const all = templates.map((file) => scanned(file, packs));
report(`${JSON.stringify({ templates: all })}\n`, () => process.exit(0));
