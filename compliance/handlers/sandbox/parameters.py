"""SSM's parameters and secrets. Whether one that is not in `given` exists is unknown, so it has no answer.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from compliance.handlers.sandbox.refusal import NotStoodIn, Refusal
from compliance.json_data import JSON, array, whole

Request = dict[str, JSON]
Answer = dict[str, JSON]
LARGEST_PARAMETER = 4 * 1024
PREFIX = "arn:aws:ssm:us-east-1:123456789012:parameter/"


class Parameters:
    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.secrets: dict[str, JSON] = {}
        self.page: int | None = None

    def replace(self, parameters: Mapping[str, str], secrets: Mapping[str, JSON], page: int | None) -> None:
        self.parameters, self.secrets, self.page = dict(parameters), dict(secrets), page

    def answer(self, service: str, operation: str, request: Request) -> Answer:
        answers: dict[str, Callable[[Request], Answer]] = {
            "ssm:GetParameter": lambda r: {"Parameter": self._parameter(str(r["Name"]))},
            "ssm:GetParameters": self._many,
            "ssm:GetParametersByPath": self._by_path,
            "ssm:PutParameter": self._put,
            "secretsmanager:GetSecretValue": self._secret,
            "secretsmanager:PutSecretValue": self._put_secret,
        }
        act = answers.get(f"{service}:{operation}")
        if act is None:
            raise NotStoodIn
        return act(request)

    def _parameter(self, name: str) -> Answer:
        plain = name.partition(":parameter")[2] or name if name.startswith("arn:") else name
        found = next((n for n in (plain, plain.lstrip("/"), f"/{plain}") if n in self.parameters), None)
        if found is None:
            raise NotStoodIn(f"of {name}: `given.parameters` does not have it")
        value = self.parameters[found]
        return {
            "Name": found,
            "Type": "String",
            "Value": value if isinstance(value, str) else json.dumps(value),
            "Version": 1,
            "ARN": PREFIX + found.lstrip("/"),
            "DataType": "text",
        }

    def _many(self, request: Request) -> Answer:
        return {
            "Parameters": [self._parameter(str(name)) for name in array(request["Names"])],
            "InvalidParameters": [],
        }

    def _by_path(self, request: Request) -> Answer:
        path = str(request["Path"]).rstrip("/") + "/"
        names = sorted(n for n in self.parameters if n.startswith(path))
        if not names:
            raise NotStoodIn(f"of {path}: `given.parameters` has none under it")
        if not request.get("Recursive"):
            names = [name for name in names if "/" not in name[len(path) :]]
        start, most = (
            int(str(request.get("NextToken") or 0)),
            min(whole(request.get("MaxResults", 10)), self.page or 10),
        )
        page: list[JSON] = [self._parameter(name) for name in names[start : start + most]]
        more = {"NextToken": str(start + most)} if start + most < len(names) else {}
        return {"Parameters": page, **more}

    def _put(self, request: Request) -> Answer:
        name, value = str(request["Name"]), str(request["Value"])
        if len(value.encode()) > LARGEST_PARAMETER and request.get("Tier", "Standard") == "Standard":
            raise Refusal(
                "ValidationException", "Standard tier parameters support a maximum of 4096 characters.", 400
            )
        if name in self.parameters and not request.get("Overwrite"):
            raise Refusal("ParameterAlreadyExists", "The parameter already exists.", 400)
        self.parameters[name] = value
        return {"Version": 1, "Tier": "Standard"}

    def _name_of(self, identifier: str) -> str | None:
        """The name of a secret by its name, its ARN, or its ARN without the random suffix."""
        plain = identifier.partition(":secret:")[2] if identifier.startswith("arn:") else identifier
        for name in self.secrets:
            if identifier == name or plain == name or (plain[-7:-6] == "-" and plain[:-7] == name):
                return name
        return None

    def _secret(self, request: Request) -> Answer:
        name = self._name_of(str(request["SecretId"]))
        if name is None:
            raise NotStoodIn(f"of {request['SecretId']}: `given.secrets` does not have it")
        value = self.secrets[name]
        text = value if isinstance(value, str) else json.dumps(value)
        arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-a1b2c3"
        return {
            "ARN": arn,
            "Name": name,
            "SecretString": text,
            "VersionId": "1",
            "VersionStages": ["AWSCURRENT"],
        }

    def _put_secret(self, request: Request) -> Answer:
        name = self._name_of(str(request["SecretId"])) or str(request["SecretId"])
        self.secrets[name] = request.get("SecretString", "")
        return {"Name": name, "VersionId": "2", "VersionStages": ["AWSCURRENT"]}
