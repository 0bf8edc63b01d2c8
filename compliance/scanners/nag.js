// cdk-nag, on any template: CfnInclude makes constructs of it, and the rule packs walk them.
// A line of JSON on stdin says what to scan, a line on stdout what was found; see __init__.py.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');

const report = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // what libraries print is no report
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
os.setPriority(5); // the synth, which everything waits for, comes first

const { App, Stack, CfnResource } = require('aws-cdk-lib/core');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');
const nag = require('cdk-nag');

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

function include(app, id, file) {
  const template = readable(JSON.parse(fs.readFileSync(file.path, 'utf8')));
  // Neither says anything of a resource: CDK's check of its bootstrap stack, and what rules it there is.
  delete template.Rules;
  delete (template.Parameters ?? {}).BootstrapVersion;
  const copy = path.join(process.cwd(), 'included.json'); // a folder of this process's own
  try {
    fs.writeFileSync(copy, JSON.stringify(template));
    const stack = new Stack(app, id);
    new CfnInclude(stack, 'T', { templateFile: copy });
    const count = stack.node.findAll().filter((node) => CfnResource.isCfnResource(node)).length;
    const wanted = Object.keys(template.Resources).length;
    if (count !== wanted) throw new Error(`${count} of ${wanted} resources were included`);
    return stack;
  } catch (error) {
    throw new Error(`it could not read the template of ${file.stack}: ${error.message}`);
  } finally {
    fs.rmSync(copy, { force: true });
  }
}

// Every finding of one pack, and the names of the rules that it applied.
function check(name, scope) {
  const applied = new Set();
  const run = (props) => {
    const pack = new PACKS[name].make(undefined, props);
    const applyRule = pack.applyRule;
    pack.applyRule = function (params) {
      applied.add(params.ruleSuffixOverride ?? params.rule.name);
      return applyRule.call(this, params);
    };
    return pack.validateScope(scope).violations;
  };
  let violations = run({});
  if (violations.some((violation) => violation.description.startsWith(CRASHED))) {
    // Only the verbose form says what went wrong.
    const verbose = new Map(run({ verbose: true }).map((v) => [v.ruleName, v.description]));
    violations = violations.map((violation) =>
      violation.description.startsWith(CRASHED)
        ? { ...violation, description: verbose.get(violation.ruleName) }
        : violation,
    );
  }
  return { violations, applied };
}

function scan(files, packs) {
  const app = new App();
  const names = new Map();
  files.forEach((file, number) => {
    include(app, `S${number}`, file);
    names.set(`S${number}`, file.stack);
  });
  let evaluated = 0;
  const findings = [];
  for (const name of packs) {
    if (!(name in PACKS)) throw new Error(`it has no rule pack ${name}`);
    const { violations, applied } = check(name, app);
    evaluated += applied.size;
    for (const violation of violations) {
      for (const { constructPath } of violation.violatingResources) {
        const steps = constructPath.split('/');
        findings.push({
          stack: names.get(steps[0]),
          logical_id: steps.at(-1),
          rule: violation.ruleName,
          text: violation.description,
          severity: violation.severity === 'error' ? 'high' : 'medium',
          link: `${RULES}#${PACKS[name].anchor}`,
        });
      }
    }
  }
  return { evaluated, findings };
}

function prove(packs) {
  const canary = { stack: 'canary', path: path.join(__dirname, 'canary.json') };
  const found = new Set(scan([canary], packs).findings.map((finding) => finding.rule));
  for (const name of packs) {
    for (const rule of PACKS[name].canary) {
      if (!found.has(`${name}-${rule}`)) {
        throw new Error(`it misses a known flaw of its test template: ${name}-${rule}`);
      }
    }
  }
}

const USUAL = ['AwsSolutions', 'Serverless'];
prove(USUAL);
const request = JSON.parse(fs.readFileSync(0, 'utf8'));
prove(request.packs.filter((name) => !USUAL.includes(name)));
const result = scan(request.templates, request.packs);
const version = require('cdk-nag/package.json').version;
report(`${JSON.stringify({ version, ...result })}\n`, () => process.exit(0));
