"""Other spellings of the order pipeline, and other resources beside it: changes of its own subjects."""

from __future__ import annotations

from typing import Any

from compliance.mutation.draft import Change, Draft, Unit, add, all_of, copy_of, section
from compliance.mutation.equivalents import Equivalent, listed

BOTH_ROLES = ("processor_role", "audit_role")
BOTH_TABLES = ("orders_table", "audit_table")
MAPPED = ("stream_mapping", "processor", "audit_mapping", "audit_function")

# Permissions


def attached(type_: str) -> Change:
    """Takes inline policies out into policies of the stack, attached from their own side."""

    def change(draft: Draft) -> None:
        for role in BOTH_ROLES:
            for number, document in enumerate(pulled_out(draft, role)):
                own = {"PolicyDocument": document}
                own |= (
                    {"RoleName": {"Ref": f"@{role}"}}
                    if "RolePolicy" in type_
                    else {"Roles": [{"Ref": f"@{role}"}]}
                )
                own |= {} if "Managed" in type_ else {"PolicyName": f"more-{number}"}
                draft.add(f"{role.replace('_', '')}Policy{number}", type_, own)

    return change


def pulled_out(draft: Draft, role: str) -> list[Any]:
    """The policies that are attached to a role, which they are taken from."""
    documents = [copy_of(document) for document in draft.policies(role)]
    draft.resources[draft.id(role)]["Properties"].pop("Policies", None)
    for key, raw in list(draft.resources.items()):
        if {"Ref": draft.id(role)} in raw.get("Properties", {}).get("Roles", []):
            del draft.resources[key]
    for raw in draft.resources.values():
        depends = raw.pop("DependsOn", [])
        kept = [k for k in (depends if isinstance(depends, list) else [depends]) if k in draft.resources]
        if kept:
            raw["DependsOn"] = kept
    return documents


def managed_by_reference(draft: Draft) -> None:
    """Managed policies of the stack that the roles name."""
    for role in BOTH_ROLES:
        names = []
        for number, document in enumerate(pulled_out(draft, role)):
            name = f"{role.replace('_', '')}Policy{number}"
            draft.add(name, "AWS::IAM::ManagedPolicy", {"PolicyDocument": document})
            names.append({"Ref": name})
        arns = draft.resources[draft.id(role)]["Properties"].setdefault("ManagedPolicyArns", [])
        arns += names


def inline(draft: Draft) -> None:
    for role in BOTH_ROLES:
        documents = pulled_out(draft, role)
        draft[f"{role}.Policies"] = [
            {"PolicyName": f"p{number}", "PolicyDocument": document}
            for number, document in enumerate(documents)
        ]


def one_by_one(draft: Draft) -> None:
    """A statement for each action on each resource."""
    for role in BOTH_ROLES:
        for document in draft.policies(role):
            statements = document["Statement"]
            document["Statement"] = [
                {**statement, "Action": action, "Resource": resource}
                for statement in (statements if isinstance(statements, list) else [statements])
                for action in listed(statement["Action"])
                for resource in listed(statement["Resource"])
            ]


def function_named(form: str) -> Change:
    def change(draft: Draft) -> None:
        for mapping, function in (("stream_mapping", "processor"), ("audit_mapping", "audit_function")):
            name = draft[f"{function}.FunctionName"]
            account = "arn:aws:lambda:us-east-1:${AWS::AccountId}:function:"
            draft[f"{mapping}.FunctionName"] = {
                "arn": {"Fn::GetAtt": [f"@{function}", "Arn"]},
                "name": {"Ref": f"@{function}"},
                "literal name": name,
                "literal arn": {"Fn::Sub": [account + "${name}", {"name": name}]},
                "partial arn": {"Fn::Sub": ["${AWS::AccountId}:function:${name}", {"name": name}]},
                "qualified": {"Fn::Sub": f"${{@{function}.Arn}}:$LATEST"},
                "qualified name": {"Fn::Sub": f"${{@{function}}}:$LATEST"},
            }[form]

    return change


def through(type_: str) -> Change:
    """The mappings invoke an alias or a version of the functions."""

    def change(draft: Draft) -> None:
        for mapping, function in (("stream_mapping", "processor"), ("audit_mapping", "audit_function")):
            name = f"{function.title().replace('_', '')}Live"
            draft.add(f"{name}Version", "AWS::Lambda::Version", {"FunctionName": {"Ref": f"@{function}"}})
            if "Alias" in type_:
                alias = {
                    "Name": "live",
                    "FunctionName": {"Ref": f"@{function}"},
                    "FunctionVersion": {"Fn::GetAtt": [f"{name}Version", "Version"]},
                }
                draft.add(name, type_, alias)
            draft[f"{mapping}.FunctionName"] = {"Ref": name if "Alias" in type_ else f"{name}Version"}

    return change


def global_tables(draft: Draft) -> None:
    """CDK's TableV2: what a table keeps of its own stands in its replica."""
    of_replicas = ("PointInTimeRecoverySpecification", "Tags", "DeletionProtectionEnabled", "ResourcePolicy")
    for role in BOTH_TABLES:
        raw = draft.resources[draft.id(role)]
        properties = raw["Properties"]
        replica = {key: properties.pop(key) for key in of_replicas if key in properties}
        encryption = properties.get("SSESpecification")
        if encryption:
            replica["SSESpecification"] = {"KMSMasterKeyId": encryption.pop("KMSMasterKeyId")}
        raw["Type"] = "AWS::DynamoDB::GlobalTable"
        properties["Replicas"] = [{"Region": "us-east-1", **replica}]


def literal_logs(draft: Draft) -> None:
    """Log groups by their name, written out, in the functions and in the roles."""
    for role, function in (("processor_role", "processor"), ("audit_role", "audit_function")):
        named = {"name": draft[f"{function}.FunctionName"]}
        name = {"Fn::Sub": ["/aws/lambda/${name}", named]}
        if "LoggingConfig" in draft.resources[draft.id(function)]["Properties"]:
            draft[f"{function}.LoggingConfig.LogGroup"] = name
        for statement in draft.statements(role):
            if "logs:PutLogEvents" in statement["Action"]:
                arn = "arn:aws:logs:us-east-1:${AWS::AccountId}:log-group:/aws/lambda/${name}:*"
                statement["Resource"] = {"Fn::Sub": [arn, named]}


# More beside it


TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    ],
}


CODE = {"ZipFile": "exports.handler = async () => {};"}


def function(logical_id: str, role: str, **more: Any) -> Change:
    own = {
        "Runtime": "nodejs24.x",
        "Handler": "index.handler",
        "Code": CODE,
        "Role": {"Fn::GetAtt": [role, "Arn"]},
    }
    return add(logical_id, "AWS::Lambda::Function", {**own, **more})


def role(logical_id: str, *statements: Any) -> Change:
    policy = {"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": list(statements)}}
    return add(
        logical_id,
        "AWS::IAM::Role",
        {"AssumeRolePolicyDocument": TRUST, "Policies": [policy] if statements else []},
    )


def let(action: Any, resource: Any) -> Any:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def table(logical_id: str, **more: Any) -> Change:
    key = {"AttributeName": "id", "KeyType": "HASH"}
    own = {"KeySchema": [key], "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]}
    return add(logical_id, "AWS::DynamoDB::Table", {**own, **more})


def mapping(logical_id: str, source: Any, target: str, **more: Any) -> Change:
    own = {"EventSourceArn": source, "FunctionName": {"Ref": target}, "StartingPosition": "LATEST"}
    return add(logical_id, "AWS::Lambda::EventSourceMapping", {**own, **more})


STREAM = {"Fn::GetAtt": ["CartTable", "StreamArn"]}


SECOND_PIPELINE = all_of(
    table("CartTable", StreamSpecification={"StreamViewType": "KEYS_ONLY"}),
    add("CartQueue", "AWS::SQS::Queue"),
    add("CartBucket", "AWS::S3::Bucket"),
    role(
        "CartRole",
        let(["dynamodb:DescribeStream", "dynamodb:GetRecords"], STREAM),
        let("s3:PutObject", {"Fn::Sub": "${CartBucket.Arn}/*"}),
        let("sqs:SendMessage", {"Fn::GetAtt": ["CartQueue", "Arn"]}),
    ),
    function("Cart", "CartRole", Environment={"Variables": {"BUCKET": {"Ref": "CartBucket"}}}),
    mapping(
        "CartMapping",
        STREAM,
        "Cart",
        DestinationConfig={"OnFailure": {"Destination": {"Fn::GetAtt": ["CartQueue", "Arn"]}}},
    ),
    table("CartFailures"),
    role(
        "CartAuditRole",
        let(["sqs:ReceiveMessage", "sqs:DeleteMessage"], {"Fn::GetAtt": ["CartQueue", "Arn"]}),
        let("dynamodb:PutItem", {"Fn::GetAtt": ["CartFailures", "Arn"]}),
    ),
    function("CartAudit", "CartAuditRole", Environment={"Variables": {"TABLE": {"Ref": "CartFailures"}}}),
    mapping("CartAuditMapping", {"Fn::GetAtt": ["CartQueue", "Arn"]}, "CartAudit"),
)


def as_another_stack(change: Change) -> Change:
    """What a change adds stands in a stack of its own, before the others."""

    def made(draft: Draft) -> None:
        beside = Draft({"Resources": {}}, {}, draft.environment, draft.unit, draft.base)
        change(beside)
        protected = draft.unit.protected
        draft.others.append(Unit(f"{draft.unit.name}Beside", beside.template, protected=protected))

    return made


UNRELATED = all_of(
    add("Bucket2", "AWS::S3::Bucket"),
    add("Queue2", "AWS::SQS::Queue"),
    add("Topic2", "AWS::SNS::Topic"),
    add("Logs2", "AWS::Logs::LogGroup"),
    add("Key2", "AWS::KMS::Key", {"KeyPolicy": {"Statement": []}}),
    table("Table2"),
    table("Table3", StreamSpecification={"StreamViewType": "KEYS_ONLY"}),
    role("Role2", let("*", "*")),
    function("Function2", "Role2"),
    add(
        "Alarm2",
        "AWS::CloudWatch::Alarm",
        {
            "Namespace": "AWS/Lambda",
            "MetricName": "Errors",
            "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Function2"}}],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold",
        },
    ),
    section("Outputs", Another={"Value": "a value"}),
)


SPELLINGS = (
    Equivalent("inline policies", inline, BOTH_ROLES),
    Equivalent("policies attached", attached("AWS::IAM::Policy"), BOTH_ROLES),
    Equivalent("policies managed", attached("AWS::IAM::ManagedPolicy"), BOTH_ROLES),
    Equivalent("policies of AWS::IAM::RolePolicy", attached("AWS::IAM::RolePolicy"), BOTH_ROLES),
    Equivalent("managed policies by reference", managed_by_reference, BOTH_ROLES),
    Equivalent("a statement for each action", one_by_one, BOTH_ROLES),
    *(
        Equivalent(f"functions by {form}", function_named(form), MAPPED)
        for form in (
            "arn",
            "name",
            "literal name",
            "literal arn",
            "partial arn",
            "qualified",
            "qualified name",
        )
    ),
    Equivalent("functions by alias", through("AWS::Lambda::Alias"), MAPPED),
    Equivalent("functions by version", through("AWS::Lambda::Version"), MAPPED),
    Equivalent("global tables", global_tables, BOTH_TABLES),
    Equivalent("log groups by name", literal_logs, (*BOTH_ROLES, *MAPPED)),
    Equivalent("a second pipeline beside it", SECOND_PIPELINE, MAPPED),
    Equivalent("a second pipeline in another stack", as_another_stack(SECOND_PIPELINE), MAPPED),
    Equivalent("unrelated resources", UNRELATED, MAPPED),
    Equivalent("unrelated resources in another stack", as_another_stack(UNRELATED), MAPPED),
)
