"""The CDK app: `cdk synth -c env=staging`, or `python app.py` alone."""

import sys
from functools import partial

from compliance.plugins.cdk_app import make, run  # before aws_cdk: it picks the Node.js that CDK runs on

# isort: split
import aws_cdk as cdk

from stacks.order_pipeline import OrderPipeline
from stacks.settings import Settings


def add_stacks(app: cdk.App) -> str:
    """Adds the app's one stack, and returns its environment."""
    settings = Settings.from_context(app.node)
    OrderPipeline(app, "OrderPipeline", settings=settings)
    return settings.environment


build = partial(make, add_stacks)

if __name__ == "__main__":
    sys.exit(run(add_stacks))
