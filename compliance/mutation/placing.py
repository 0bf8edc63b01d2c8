"""Equivalents by where a stack stands: its account bound or not, its data in another stack."""

from __future__ import annotations

import json
import re

from msgspec.structs import replace

from compliance.mutation.draft import Change, Draft, copy_of
from compliance.mutation.rewriting import get, in_functions, rewritten, throughout
from compliance.template.intrinsics import to_list
from compliance.template.resolver import SUB_VARIABLE


def bound(draft: Draft) -> None:
    """The manifest binds the account, and the template says it literally."""
    draft.unit = replace(draft.unit, account="111122223333")
    text_of = {"Ref": "AWS::AccountId"}

    def rewrite(node: object) -> object:
        if node == text_of:
            return "111122223333"
        match node:
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": text.replace("${AWS::AccountId}", "111122223333")}
        return node

    throughout(in_functions(rewrite))(draft)


def unbound(draft: Draft) -> None:
    draft.unit = replace(draft.unit, account=None)
    literal = re.compile("111122223333")

    def rewrite(node: object) -> object:
        if isinstance(node, str) and literal.search(node):
            return {"Fn::Sub": literal.sub("${AWS::AccountId}", node)}
        match node:
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": literal.sub("${AWS::AccountId}", text)}
        return node

    throughout(in_functions(rewrite))(draft)


DATA = (
    *("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::KMS::Key", "AWS::KMS::Alias"),
    *("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"),
)


def stands_alone(draft: Draft) -> bool:
    """Whether the data names nothing of the rest, and nothing waits for it."""
    kept = {key for key, raw in draft.resources.items() if raw["Type"] not in DATA}
    data = json.dumps([raw for key, raw in draft.resources.items() if key not in kept])
    waited_for = {key for raw in draft.resources.values() for key in to_list(raw.get("DependsOn", []))}
    named = any(f'"{key}"' in data or f"${{{key}" in data for key in kept)
    return not named and waited_for <= kept


def in_two_stacks(spelling: str) -> Change:
    """The data stands in a stack of its own, which the rest refers to by its exports or outputs."""

    def change(draft: Draft) -> None:
        gone = {key for key, raw in draft.resources.items() if raw["Type"] in DATA}
        data = copy_of({**draft.template, "Outputs": {}})
        data["Resources"] = {key: raw for key, raw in data["Resources"].items() if key in gone}
        draft.template["Resources"] = {k: raw for k, raw in draft.resources.items() if k not in gone}
        rewrite = in_functions(lambda node: imported(node, gone, data["Outputs"], draft, spelling))
        for name in ("Resources", "Outputs"):
            draft.template[name] = rewritten(draft.template[name], rewrite)
        name = f"{draft.unit.name}Data"
        unit = replace(draft.unit, name=name, stack_name=name, template=data)
        draft.others.append(unit)

    return change


def imported(node: object, gone: set[str], outputs: dict[str, object], draft: Draft, spelling: str) -> object:
    match node:
        case {"Ref": str(name)}:
            attribute = ""
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            pass
        case {"Fn::GetAtt": str(text)}:
            name, _, attribute = text.partition(".")
        case {"Fn::Sub": str(text)}:
            names = {found[2] for found in SUB_VARIABLE.finditer(text) if found[2].split(".")[0] in gone}
            variables = {}
            for index, found in enumerate(sorted(names)):
                text = text.replace(f"${{{found}}}", f"${{v{index}}}")
                variables[f"v{index}"] = imported(get(found), gone, outputs, draft, spelling)
            return {"Fn::Sub": [text, variables]} if variables else node
        case _:
            return node
    if name not in gone:
        return node
    output = f"Out{name}{attribute}"
    export = {"Fn::Sub": f"${{AWS::StackName}}:{output}"}
    outputs[output] = {"Value": get(f"{name}.{attribute}" if attribute else name), "Export": {"Name": export}}
    if spelling == "Fn::GetStackOutput":
        return {spelling: {"StackName": f"{draft.unit.name}Data", "OutputName": output}}
    return {spelling: f"{draft.unit.name}Data:{output}"}
