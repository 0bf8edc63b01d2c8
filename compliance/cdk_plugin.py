"""`ComplianceChecks` under the name that apps import. It lives in `compliance.plugins.cdk_plugin`."""

from compliance.plugins.cdk_plugin import ComplianceChecks

__all__ = ["ComplianceChecks"]
