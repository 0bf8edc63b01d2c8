"""The order pipeline in CDK. Import `compliance.plugins.cdk_app` before: it prepares CDK."""
