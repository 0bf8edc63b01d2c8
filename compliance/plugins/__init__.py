"""The gate inside other tools: pytest and the CDK."""
