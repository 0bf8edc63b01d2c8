import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs


class Beta(cdk.Stack):
    def __init__(self, scope, id):
        super().__init__(scope, id)
        # further
        # down
        sqs.CfnQueue(self, "Queue", visibility_timeout=900)
