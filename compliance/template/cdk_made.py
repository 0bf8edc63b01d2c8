"""Constructs that CDK adds to a stack by itself, and that an app cannot edit.

They are recognised by the construct ids that CDK gives them, constants in its source:
https://github.com/aws/aws-cdk/tree/main/packages/aws-cdk-lib.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What CDK makes, by a pattern for the id of one of the constructs in its path.
KINDS: Mapping[str, str] = {
    r"Custom::S3AutoDeleteObjectsCustomResourceProvider": "the handler that empties buckets",
    r"Custom::ECRAutoDeleteImagesCustomResourceProvider": "the handler that empties repositories",
    r"Custom::CrossRegion(?:String)?(?:Export|SsmParameter)\w*": "the handler of references across regions",
    r"Custom::CDKBucketDeployment[0-9A-F]{32}": "the handler of bucket deployments",
    r"Custom::\w+CustomResourceProvider": "the handler of a custom resource of CDK",
    r"BucketNotificationsHandler050a0587b7544547bf325f094a3db834": "the handler of bucket notifications",
    r"LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a": "the handler of log retention",
    r"AWS679f53fac002430cb0da5b7982bd2287": "the handler of AWS custom resources",
    r"AWSCDK\.\w+CustomResourceProvider": "the handler of a custom resource of CDK",
    r"framework-(?:onEvent|isComplete|onTimeout)": "a provider framework",
    r"waiter-state-machine": "a provider framework",
}
_ID = "|".join(f"({id_})" for id_ in KINDS)  # compiled when it is first used
_WHAT = (None, *KINDS.values())


def made_by_cdk(construct_path: str | None) -> str | None:
    """What a construct is that CDK adds, in words; None for one that the app makes itself."""
    for part in (construct_path or "").split("/"):
        if found := re.fullmatch(_ID, part):
            return _WHAT[found.lastindex or 0]
    return None
