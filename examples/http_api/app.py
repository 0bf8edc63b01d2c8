"""A link shortener: HTTP API -> function -> table. `cdk synth -c env=staging`; `-c variant=red` has flaws."""

import aws_cdk as cdk
from stack import Links

app = cdk.App()
Links(
    app,
    "Links",
    environment=app.node.try_get_context("env") or "dev",
    red=app.node.try_get_context("variant") == "red",
)
app.synth()
