"""The order pipeline in CDK.

Importing this package before `aws_cdk` picks the Node.js that CDK runs on: CDK's own runtime (jsii)
starts `node` from PATH, which may be missing or past its end of life, so the one that came with the
Python packages goes first. It also has CDK note where each construct was written, so that a finding
names a line. Either environment variable, where it is set, stays what it is.
"""

import os

from compliance.template.synth import bundled_node

os.environ.setdefault("JSII_HOST_STACK_TRACES", "1")
if node := bundled_node():
    os.environ.setdefault("JSII_NODE", str(node))
