"""Container images that the CDK CLI builds: whether it builds them only from a folder of the assembly.

An image that also uses something else was not judged as it is deployed. The options of `docker build` are in
`DockerImageSource` of https://docs.aws.amazon.com/cdk/api/v2/docs/cloud-assembly-schema-readme.html.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from compliance.json_data import JSON

# The options that use nothing outside of the assembly.
FIELDS = ("directory", "dockerFile", "dockerBuildTarget", "dockerBuildArgs", "platform", "cacheDisabled")
# Options by which `docker build` reads from, or writes to, somewhere else, with the reason for a message.
REFUSED: Mapping[str, str] = {
    "executable": "a command would make it",
    "dockerBuildContexts": "takes from other build contexts",
    "dockerBuildSecrets": "takes secrets of the machine that builds it",
    "dockerBuildSsh": "takes the SSH agent of the machine that builds it",
    "dockerOutputs": "writes elsewhere than to its repository",
    "cacheFrom": "takes layers from a cache",
    "cacheTo": "writes to a cache",
    "networkMode": "is built in a network of its own choice",
}


def refusal(source: Mapping[str, JSON]) -> str | None:
    """Why an image is not built from the assembly's bytes alone; None where it is.

    Args:
        source: the `source` of an entry in an asset manifest's `dockerImages`. The caller checks that its
            directory exists.
    """
    for field, value in source.items():
        if field not in FIELDS and value not in (None, [], {}, False):
            shown = " ".join(map(str, value)) if field == "executable" and isinstance(value, list) else field
            return f"{REFUSED.get(field, 'has a field that is not known')} ({shown})"
    file = source.get("dockerFile", "Dockerfile")
    if not isinstance(file, str) or posixpath.isabs(file) or posixpath.normpath(file).split("/")[0] == "..":
        return f"its dockerFile leads out of its folder: {file!r}"
    arguments = source.get("dockerBuildArgs") or {}
    if not isinstance(arguments, dict) or not all(isinstance(value, str) for value in arguments.values()):
        return "its dockerBuildArgs are no texts"
    return None
