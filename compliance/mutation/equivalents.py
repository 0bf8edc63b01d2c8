"""Changes that change nothing: other spellings of the same facts, and more beside them. No rule may mind.

Each is a change of a `Draft`, and serves every document. An equivalent that is about subjects of one document
names them in `needs`; those of the order pipeline are in `tools/mutants`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from compliance.mutation.draft import Change, Draft, Unit, all_of, copy_of, section
from compliance.mutation.generic import is_function
from compliance.mutation.ground import Ground
from compliance.mutation.placing import bound, in_two_stacks, stands_alone, unbound
from compliance.mutation.rewriting import Rewrite, get, in_functions, is_scalar, rewritten, throughout
from compliance.template.assembly import Assembly, Stack
from compliance.template.resolver import SUB_VARIABLE


class Equivalent(msgspec.Struct, frozen=True):
    """A change that changes nothing. `needs` are subjects that it is about; `when` tells where it fits."""

    what: str
    change: Change
    needs: tuple[str, ...] = ()
    when: Callable[[Draft], bool] = lambda draft: True


# Rewriting a template throughout


def through_parameters(draft: Draft) -> None:
    """Every scalar is a parameter's default."""
    parameters = draft.template.setdefault("Parameters", {})

    def rewrite(node: Any) -> Any:
        if not is_scalar(node):
            return node
        name = f"P{len(parameters)}"
        kind = "String" if isinstance(node, str | bool) else "Number"
        parameters[name] = {"Type": kind, "Default": as_text(node)}
        return {"Ref": name}

    throughout(rewrite)(draft)


def through_a_mapping(draft: Draft) -> None:
    """Every scalar is a mapping's value, in the row that a parameter names."""
    rows: dict[str, Any] = {}
    draft.template.setdefault("Mappings", {})["All"] = {"own": rows, "another": {}}
    draft.template.setdefault("Parameters", {})["Row"] = {"Type": "String", "Default": "own"}

    def rewrite(node: Any) -> Any:
        if not is_scalar(node):
            return node
        rows[f"K{len(rows)}"] = node
        return {"Fn::FindInMap": ["All", {"Ref": "Row"}, f"K{len(rows) - 1}"]}

    throughout(rewrite)(draft)


def as_text(node: Any) -> str:
    return str(node).lower() if isinstance(node, bool) else str(node)


TRUE_CONDITION = section(
    "Conditions", Always={"Fn::Equals": ["a", "a"]}, Never={"Fn::Not": [{"Condition": "Always"}]}
)


def under_a_condition(node: Any) -> Any:
    """Every scalar and every function depends on a condition that is true."""
    if is_scalar(node) or is_function(node):
        return {"Fn::If": ["Always", node, "something else"]}
    return node


def conditional_resources(draft: Draft) -> None:
    """Every resource depends on a condition that is true; some that are false stand beside them."""
    for key, raw in list(draft.resources.items()):
        if "Condition" not in raw:
            raw["Condition"] = "Always"
        if raw["Type"] in ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::IAM::Role"):
            draft.resources[f"Not{key}"] = {**copy_of(raw), "Condition": "Never"}


def halves(node: Any) -> Any:
    if isinstance(node, str) and len(node) > 1:
        middle = len(node) // 2
        return {"Fn::Join": ["", [node[:middle], node[middle:]]]}
    return node


def selected(node: Any) -> Any:
    return {"Fn::Select": [1, ["no", node]]} if isinstance(node, str) else node


def split(node: Any) -> Any:
    mark = next((mark for mark in "|~^" if mark not in node), None) if isinstance(node, str) else None
    return {"Fn::Select": ["1", {"Fn::Split": [mark, f"no{mark}{node}{mark}no"]}]} if mark else node


def in_words(node: Any) -> Any:
    """Numbers and booleans as texts."""
    return as_text(node) if isinstance(node, int | float | bool) else node


def references_as_sub(node: Any) -> Any:
    match node:
        case {"Ref": str(name)} if name != "AWS::NoValue":
            return {"Fn::Sub": f"${{{name}}}"}
        case {"Fn::GetAtt": [name, str(attribute)]}:
            return {"Fn::Sub": f"${{{name}.{attribute}}}"}
        case {"Fn::GetAtt": str(text)}:
            return {"Fn::Sub": f"${{{text}}}"}
        case {"Fn::Join": ["", list(parts)]}:
            texts = list(map(within_sub, parts))
            return node if None in texts else {"Fn::Sub": "".join(map(str, texts))}
    return node


def within_sub(part: Any) -> str | None:
    """What stands for a part of a text within an Fn::Sub; None for a function that has no place there."""
    match references_as_sub(part):
        case {"Fn::Sub": str(text)} | str(text):
            return text
    return None


def references_within_sub(node: Any) -> Any:
    """References by the variables of an Fn::Sub."""
    if (
        isinstance(node, dict)
        and next(iter(node), "") in ("Ref", "Fn::GetAtt")
        and node != {"Ref": "AWS::NoValue"}
    ):
        return {"Fn::Sub": ["${it}", {"it": node}]}
    return node


def dotted(node: Any) -> Any:
    match node:
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return {"Fn::GetAtt": f"{name}.{attribute}"}
    return node


def sub_as_join(node: Any) -> Any:
    match node:
        case {"Fn::Sub": str(text)} if "${!" not in text:
            parts = re.split(r"\$\{([^}]*)\}", text)
            named = [get(part) if index % 2 else part for index, part in enumerate(parts)]
            return {"Fn::Join": ["", [part for part in named if part != ""]]}
    return node


# Lists and their order


def in_policies(change: Rewrite) -> Rewrite:
    """Changes the values of a policy: those of its statements, and the statements as a whole."""

    def rewrite(node: Any) -> Any:
        match node:
            case {"Effect": _, **rest}:
                within = {k: changed_values(v, change) for k, v in rest.items() if k in NESTED}
                return {k: within.get(k, change(v) if k in LISTS else v) for k, v in node.items()}
            case {"Statement": {"Effect": _} | [{"Effect": _}, *_] as statements}:
                return {**node, "Statement": change(statements)}
        return node

    return rewrite


LISTS, NESTED = ("Action", "NotAction", "Resource", "NotResource"), ("Principal", "NotPrincipal", "Condition")


def changed_values(node: Any, change: Rewrite) -> Any:
    """Who is meant, and what conditions compare with: values of maps, at the last level."""
    if isinstance(node, dict) and not is_function(node):
        return {key: changed_values(item, change) for key, item in node.items()}
    return change(node)


def in_another_case(node: Any) -> Any:
    """The actions of a statement in other letters: IAM compares them without case."""
    match node:
        case {"Effect": _}:
            return {k: swapped(v) if k in ("Action", "NotAction") else v for k, v in node.items()}
    return node


def swapped(node: Any) -> Any:
    if isinstance(node, list):
        return [swapped(item) for item in node]
    return node.swapcase() if isinstance(node, str) else node


def lone(node: Any) -> Any:
    """A single value in place of a list of one."""
    return node[0] if isinstance(node, list) and len(node) == 1 else node


def listed(node: Any) -> Any:
    """A list in place of a single value."""
    return node if isinstance(node, list) else [node]


def reversed_lists(node: Any) -> Any:
    """A list in the opposite order; not the comparison of an event pattern, `[">=", 7]`."""
    compares = isinstance(node, list) and node and node[0] in ("=", "<", "<=", ">", ">=")
    return node[::-1] if isinstance(node, list) and not compares else node


def backwards(draft: Draft) -> None:
    """Resources, outputs, keys and the entries of lists in the opposite order."""
    throughout(reversed_lists)(draft)
    for name in ("Resources", "Outputs"):
        draft.template[name] = dict(reversed(draft.template[name].items()))
    for raw in draft.resources.values():
        raw["Properties"] = rewritten(
            raw["Properties"], lambda n: dict(reversed(n.items())) if isinstance(n, dict) else n
        )


def renamed(draft: Draft) -> None:
    """Logical ids that say nothing, in an order that says nothing."""
    ids = {key: f"R{hash_of(key)}" for key in draft.resources}
    draft.template["Resources"] = {
        ids[key]: draft.resources[key] for key in sorted(draft.resources, key=lambda key: ids[key])
    }

    def rewrite(node: Any) -> Any:
        match node:
            case {"Ref": str(name)}:
                return {"Ref": ids.get(name, name)}
            case {"Fn::GetAtt": [str(name), attribute]}:
                return {"Fn::GetAtt": [ids.get(name, name), attribute]}
            case {"Fn::GetAtt": str(text)}:
                name, _, attribute = text.partition(".")
                return {"Fn::GetAtt": f"{ids.get(name, name)}.{attribute}"}
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": SUB_VARIABLE.sub(lambda m: f"${{{m[1]}{renamed_in(m[2], ids)}}}", text)}
            case {"Fn::Sub": [str(), dict(variables)]}:
                return {"Fn::Sub": [node["Fn::Sub"][0], rewritten(variables, whole)]}
        return node

    whole = in_functions(rewrite)
    for name in ("Resources", "Outputs"):
        draft.template[name] = rewritten(draft.template[name], whole)
    for raw in draft.resources.values():
        if "DependsOn" in raw:
            depends = raw["DependsOn"]
            raw["DependsOn"] = [ids[k] for k in (depends if isinstance(depends, list) else [depends])]


def hash_of(key: str) -> str:
    """Letters that differ from id to id, the same in every run and environment."""
    number = int.from_bytes(re.sub(r"dev|pr1|staging", "", key)[::-1].encode(), "big") % 1_000_003
    return f"{number:x}".translate(str.maketrans("0123456789", "ghijklmnop"))


def renamed_in(name: str, ids: dict[str, str]) -> str:
    first, dot, attribute = name.partition(".")
    return ids.get(first, first) + dot + attribute


# The same function, the same key, the same table


def alarms_as_queries(draft: Draft) -> None:
    for raw in draft.resources.values():
        own = raw.get("Properties", {})
        if raw["Type"] == "AWS::CloudWatch::Alarm" and "MetricName" in own:
            metric = {key: own.pop(key) for key in ("Namespace", "MetricName", "Dimensions") if key in own}
            statistic = own.pop("Statistic", None) or own.pop("ExtendedStatistic")
            stat = {"Metric": metric, "Period": own.pop("Period"), "Stat": statistic}
            own["Metrics"] = [{"Id": "m1", "MetricStat": stat, "ReturnData": True}]


def thresholds_from_above(draft: Draft) -> None:
    for raw in draft.resources.values():
        own = raw.get("Properties", {})
        if own.get("ComparisonOperator") == "GreaterThanOrEqualToThreshold":
            own |= {"ComparisonOperator": "GreaterThanThreshold", "Threshold": own["Threshold"] - 0.5}


def key_aliases(draft: Draft) -> None:
    """Customer keys by an alias of theirs."""
    keys = [key for key, raw in draft.resources.items() if raw["Type"] == "AWS::KMS::Key"]
    for key in keys:
        own = {"TargetKeyId": {"Ref": key}, "AliasName": f"alias/{{env}}-{key[:4].lower()}-backend"}
        draft.add(f"{key}Other", "AWS::KMS::Alias", own)
    for raw in draft.resources.values():
        raw["Properties"] = rewritten(raw.get("Properties", {}), lambda node: with_aliases(node, keys))


def with_aliases(node: Any, keys: list[str]) -> Any:
    if not isinstance(node, dict):
        return node
    by_alias = {}
    for name, value in node.items():
        match value:
            case {"Fn::GetAtt": [str(key), "Arn"]} if (
                name in ("KmsMasterKeyId", "KMSMasterKeyID") and key in keys
            ):
                by_alias[name] = {"Ref": f"{key}Other"}
    return node | by_alias


def secure_transport(operator: str, value: Any) -> Change:
    def rewrite(node: Any) -> Any:
        match node:
            case {"Bool": {"aws:SecureTransport": _}}:
                return {operator: {"aws:securetransport": value}}
        return node

    return throughout(rewrite)


def has_thresholds(draft: Draft) -> bool:
    """Whether every alarm's threshold is a plain number."""
    alarms = [r["Properties"] for r in draft.resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    return all(isinstance(own.get("Threshold"), int | float) for own in alarms)


def refuses_plain_http(draft: Draft) -> bool:
    return "aws:SecureTransport" in str(draft.resources)


# Conditions of conditions, and lists

CONDITIONS = all_of(
    TRUE_CONDITION,
    section(
        "Conditions",
        Both={"Fn::And": [{"Condition": "Always"}, {"Fn::Not": [{"Condition": "Never"}]}]},
        Either={
            "Fn::Or": [{"Condition": "Never"}, {"Fn::And": [{"Condition": "Both"}, {"Condition": "Both"}]}]
        },
    ),
)


def under_conditions(node: Any) -> Any:
    if is_scalar(node) or is_function(node):
        return {"Fn::If": ["Either", {"Fn::If": ["Both", node, "something else"]}, {"Ref": "AWS::NoValue"}]}
    return node


def without_values(draft: Draft) -> None:
    """Properties and items that a condition takes away."""
    nothing = {"Fn::If": ["Never", "something", {"Ref": "AWS::NoValue"}]}

    def rewrite(node: Any) -> Any:
        if isinstance(node, list) and node:
            return [*node, nothing]
        return node

    throughout(rewrite)(draft)
    for raw in draft.resources.values():
        raw["Properties"]["NotThere"] = nothing


def through_list_parameters(draft: Draft) -> None:
    parameters = draft.template.setdefault("Parameters", {})

    def rewrite(node: Any) -> Any:
        texts = isinstance(node, list) and all(isinstance(item, str) and "," not in item for item in node)
        if not texts or not node:
            return node
        name = f"L{len(parameters)}"
        parameters[name] = {"Type": "CommaDelimitedList", "Default": ", ".join(node)}
        return {"Ref": name}

    throughout(rewrite)(draft)


def through_default_values(draft: Draft) -> None:
    """Every scalar is what a mapping falls back on (AWS::LanguageExtensions)."""
    draft.template.setdefault("Mappings", {})["Few"] = {"another": {"Key": "something else"}}
    draft.template.setdefault("Parameters", {})["Row"] = {"Type": "String", "Default": "own"}
    draft.template["Transform"] = "AWS::LanguageExtensions"

    def rewrite(node: Any) -> Any:
        if not is_scalar(node):
            return node
        return {"Fn::FindInMap": ["Few", {"Ref": "Row"}, "Key", {"DefaultValue": node}]}

    throughout(rewrite)(draft)


def as_sub(node: Any) -> Any:
    return {"Fn::Sub": node.replace("${", "${!")} if isinstance(node, str) else node


def bucket_names(value: Callable[[Draft, str, str], Any]) -> Change:
    """The names of buckets in functions' variables, got in another way: by function and bucket."""

    def change(draft: Draft) -> None:
        resources = dict(draft.resources)
        for key, raw in resources.items():
            variables = raw.get("Properties", {}).get("Environment", {}).get("Variables", {})
            for name, own in variables.items():
                named = own.get("Ref") if isinstance(own, dict) else None
                if named in resources and resources[named]["Type"] == "AWS::S3::Bucket":
                    variables[name] = value(draft, key, named)

    return change


def cut_out(draft: Draft, function: str, bucket: str) -> Any:
    return {"Fn::Select": ["5", {"Fn::Split": [":", {"Fn::GetAtt": [bucket, "Arn"]}]}]}


def by_a_parameter(draft: Draft, function: str, bucket: str) -> Any:
    tags = draft.resources[function]["Properties"].get("Tags", [])
    kept = {"Type": "String", "Value": {"Ref": bucket}, "Tags": {tag["Key"]: tag["Value"] for tag in tags}}
    draft.add("Kept", "AWS::SSM::Parameter", kept)
    return {"Fn::GetAtt": ["Kept", "Value"]}


EQUIVALENTS: Sequence[Equivalent] = (
    Equivalent("every scalar a parameter's default", through_parameters),
    Equivalent("every scalar from a mapping", through_a_mapping),
    Equivalent("everything under a true condition", all_of(TRUE_CONDITION, throughout(under_a_condition))),
    Equivalent("everything under conditions of conditions", all_of(CONDITIONS, throughout(under_conditions))),
    Equivalent("what is not there as AWS::NoValue", all_of(TRUE_CONDITION, without_values)),
    Equivalent("every list of texts a list parameter", through_list_parameters),
    Equivalent("every scalar a mapping's default value", through_default_values),
    Equivalent("every text an Fn::Sub", throughout(as_sub)),
    Equivalent("every resource under a true condition", all_of(TRUE_CONDITION, conditional_resources)),
    Equivalent("every text joined of halves", throughout(halves)),
    Equivalent("every text selected", throughout(selected)),
    Equivalent("every text split", throughout(split)),
    Equivalent("numbers and booleans in words", throughout(in_words)),
    Equivalent("references as Fn::Sub", throughout(in_functions(references_as_sub))),
    Equivalent("references in the variables of Fn::Sub", throughout(in_functions(references_within_sub))),
    Equivalent("Fn::GetAtt with a dot", throughout(in_functions(dotted))),
    Equivalent("Fn::Sub as Fn::Join", throughout(in_functions(sub_as_join))),
    Equivalent("single values for lists", throughout(in_policies(lone))),
    Equivalent("lists for single values", throughout(in_policies(listed))),
    Equivalent("actions in the other case", throughout(in_another_case)),
    Equivalent("everything in the opposite order", backwards),
    Equivalent("logical ids that say nothing", renamed),
    Equivalent("alarms as queries", alarms_as_queries),
    Equivalent("thresholds from above", thresholds_from_above, when=has_thresholds),
    Equivalent("keys by alias", key_aliases),
    Equivalent("bucket names cut out of ARNs", bucket_names(cut_out)),
    Equivalent("bucket names by a parameter of the stack", bucket_names(by_a_parameter)),
    *(
        Equivalent(
            f"aws:SecureTransport by {operator} {value}",
            secure_transport(operator, value),
            when=refuses_plain_http,
        )
        for operator, value in (
            ("Bool", False),
            ("Bool", "false"),
            ("Bool", ["false"]),
            ("BoolIfExists", "false"),
            ("Bool", "False"),
        )
    ),
    Equivalent("a bound account", bound),
    Equivalent("an unbound account", unbound),
    Equivalent("two stacks, by exports", in_two_stacks("Fn::ImportValue"), when=stands_alone),
    Equivalent("two stacks, by outputs", in_two_stacks("Fn::GetStackOutput"), when=stands_alone),
)


def of_ground(
    ground: Ground, equivalents: Iterable[Equivalent] = EQUIVALENTS
) -> Iterator[tuple[Equivalent, dict[str, list[Unit]]]]:
    """Every equivalent that an input has, with each environment's stacks. Nested stacks have none."""
    inputs = ground.inputs
    if any(stack.parent for assembly in inputs.values() for stack in assembly.stacks):
        return
    for equivalent in equivalents:
        drafts = {name: list(_drafts(ground, name, assembly)) for name, assembly in inputs.items()}
        units: dict[str, list[Unit]] = {}
        for name, of_environment in drafts.items():
            fit = [
                d for d in of_environment if d.roles.keys() >= set(equivalent.needs) and equivalent.when(d)
            ]
            for draft in fit:
                equivalent.change(draft)
            units[name] = [unit for draft in of_environment for unit in draft.stacks()] if fit else []
        if all(units.values()):
            yield equivalent, units


def _drafts(ground: Ground, environment: str, assembly: Assembly) -> Iterator[Draft]:
    filled = ground.wiring(environment).filled
    for stack in assembly.stacks:
        roles = {name: r.logical_id for name, r in filled.items() if r and r.stack is stack}
        template = copy_of({"Outputs": {}, **stack.template})
        yield Draft(template, roles, environment, _unit(stack), "")


def _unit(stack: Stack) -> Unit:
    return Unit(
        stack.name,
        dict(stack.template),
        stack.account,
        stack.declared_region,
        stack.metadata,
        stack.stack_name,
        stack.protected,
    )
