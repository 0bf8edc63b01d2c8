import aws_cdk as cdk
from aws_cdk import aws_lambda as lam
from aws_cdk import aws_sqs as sqs

app = cdk.App()


class Producer(cdk.Stack):
    def __init__(self, scope, id, *, sse, **kw):
        super().__init__(scope, id, stack_name="shared", **kw)
        self.q = sqs.CfnQueue(
            self, "Q", queue_name=f"{sse}-jobs", visibility_timeout=900 if sse == "dev" else 30
        )


class Consumer(cdk.Stack):
    def __init__(self, scope, id, *, q, **kw):
        super().__init__(scope, id, stack_name="worker", **kw)
        lam.CfnFunction(
            self,
            "F",
            role="arn:aws:iam::111122223333:role/r",
            code={"zipFile": "x"},
            handler="index.h",
            runtime="python3.13",
            environment={"variables": {"Q": q.attr_arn}},
        )


for n, acc in (("dev", "111111111111"), ("prod", "222222222222")):
    st = cdk.Stage(app, n, env=cdk.Environment(account=acc, region="eu-west-1"))
    p = Producer(st, "P", sse=n)
    Consumer(st, "C", q=p.q)
app.synth()
