import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs

from compliance.cdk_plugin import ComplianceChecks

top = "top" in sys.argv
app = cdk.App(builtin_cloud_formation_validation=False)
cdk.Validations.of(app).add_plugins(ComplianceChecks(requirements=Path("r.yaml")))
if top:
    t = cdk.Stack(app, "Tools")
    sqs.CfnQueue(t, "T", visibility_timeout=900)
for name, seconds in (("dev", 900), ("other", 900), ("prod", 30)):
    stage = cdk.Stage(app, name)
    s = cdk.Stack(stage, "Jobs")
    sqs.CfnQueue(s, "Q", visibility_timeout=seconds)
app.synth()
