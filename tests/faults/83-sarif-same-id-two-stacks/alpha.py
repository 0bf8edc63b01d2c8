import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs


class Alpha(cdk.Stack):
    def __init__(self, scope, id):
        super().__init__(scope, id)
        sqs.CfnQueue(self, "Queue", visibility_timeout=30)
