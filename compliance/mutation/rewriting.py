"""Rewriting every node of a template: what equivalents are made by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compliance.mutation.draft import Change, Draft
from compliance.mutation.generic import is_function

Rewrite = Callable[[Any], Any]


def rewritten(node: Any, rewrite: Rewrite) -> Any:
    """A part of a template, every node of it replaced from the leaves up; functions are left whole."""
    if isinstance(node, dict) and not is_function(node):
        node = {key: rewritten(item, rewrite) for key, item in node.items()}
    elif isinstance(node, list):
        node = [rewritten(item, rewrite) for item in node]
    return rewrite(node)


def throughout(rewrite: Rewrite) -> Change:
    """Rewrites the properties of every resource."""

    def change(draft: Draft) -> None:
        for raw in draft.resources.values():
            raw["Properties"] = rewritten(raw.get("Properties", {}), rewrite)

    return change


def is_scalar(node: Any) -> bool:
    return isinstance(node, str | int | float | bool)


def get(name: str) -> Any:
    return {"Fn::GetAtt": name.split(".", 1)} if "." in name else {"Ref": name}


def in_functions(rewrite: Rewrite) -> Rewrite:
    """A rewrite of functions that also reaches into the arguments of others."""

    def whole(node: Any) -> Any:
        if is_function(node):
            key, argument = next(iter(node.items()))
            if key in ("Fn::Join", "Fn::If", "Fn::Select", "Fn::Split", "Fn::Base64", "Fn::Cidr"):
                node = {key: rewritten(argument, whole)}
            elif key == "Fn::Sub" and isinstance(argument, list):
                node = {key: [argument[0], rewritten(argument[1], whole)]}
        return rewrite(node)

    return whole
