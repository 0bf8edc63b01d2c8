// Two foreign apps in TypeScript, as their teams would write them: `node apps.cts FOLDER` synthesises both, each
// as it is and with one setting broken.
const cdk = require('aws-cdk-lib');
const lambda = require('aws-cdk-lib/aws-lambda');
const s3 = require('aws-cdk-lib/aws-s3');
const sources = require('aws-cdk-lib/aws-lambda-event-sources');
const sqs = require('aws-cdk-lib/aws-sqs');

const CODE = 'exports.handler = async () => ({ statusCode: 200 });';

function handler(stack: any, id: string, seconds: number): any {
  return new lambda.Function(stack, id, {
    runtime: lambda.Runtime.NODEJS_22_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline(CODE),
    timeout: cdk.Duration.seconds(seconds),
  });
}

const APPS: Record<string, (app: any, broken: boolean) => void> = {
  ts_worker(app, broken) {
    const stack = new cdk.Stack(app, 'Mailer');
    const queue = new sqs.Queue(stack, 'Mails', {
      encryption: sqs.QueueEncryption.SQS_MANAGED,
      visibilityTimeout: cdk.Duration.seconds(broken ? 60 : 360),
    });
    handler(stack, 'Send', 60).addEventSource(new sources.SqsEventSource(queue));
  },
  ts_bucket(app, broken) {
    const stack = new cdk.Stack(app, 'Site');
    const access = broken ? s3.BlockPublicAccess.BLOCK_ACLS : s3.BlockPublicAccess.BLOCK_ALL;
    const bucket = new s3.Bucket(stack, 'Pages', { blockPublicAccess: access, enforceSSL: true });
    bucket.grantRead(handler(stack, 'Render', 10));
  },
};

for (const [name, build] of Object.entries(APPS)) {
  for (const variant of ['green', 'broken']) {
    const outdir = `${process.argv[2]}/${name}/${variant}`;
    const app = new cdk.App({ outdir, analyticsReporting: false, builtinCloudFormationValidation: false });
    app.node.setContext('aws:cdk:enable-path-metadata', true);
    build(app, variant === 'broken');
    app.synth();
  }
}
