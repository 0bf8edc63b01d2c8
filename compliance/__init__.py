"""An executable compliance gate for AWS CDK."""
