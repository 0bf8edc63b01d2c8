"""DynamoDB's items, as far as a handler can tell: what was put is found, conditions hold or fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from compliance.handlers.sandbox import Table
from compliance.handlers.sandbox.expressions import Names, assign, holds, named_in
from compliance.handlers.sandbox.refusal import Refusal, refusal_of

JSON = Any
Item = dict[str, JSON]
# What an attribute value's one member must hold. Bytes come as {"$b": base64}.
TYPES: Mapping[str, tuple[type, ...]] = {
    "S": (str,),
    "N": (str,),
    "B": (dict, str),
    "BOOL": (bool,),
    "NULL": (bool,),
    "SS": (list,),
    "NS": (list,),
    "BS": (list,),
}


class Tables(msgspec.Struct):
    """`known` are the tables that the template has.

    Of any other table, the key is what a request calls its Key, or what its condition names.
    """

    known: Mapping[str, Table] = msgspec.field(default_factory=dict)
    items: dict[str, list[Item]] = msgspec.field(default_factory=dict)

    def answer(self, operation: str, parameters: Mapping[str, JSON]) -> JSON:
        answers: dict[str, Callable[[Mapping[str, JSON]], JSON]] = {
            "PutItem": self._put,
            "GetItem": self._get,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
            "Query": self._find,
            "Scan": self._find,
            "BatchWriteItem": self._batch_write,
            "BatchGetItem": self._batch_get,
            "TransactWriteItems": self._transact,
            "TransactGetItems": self._transact_get,
        }
        act = answers.get(operation)
        _check_values(parameters)
        return act(parameters) if act else {}

    def _put(self, request: Mapping[str, JSON]) -> JSON:
        table, item = _table(request), _map(request, "Item")
        key = self._key_of(table, item, request)
        old = self._existing(table, key)
        _check(request, old)
        self._replace(table, old, dict(item))
        return {"Attributes": old} if old and request.get("ReturnValues") == "ALL_OLD" else {}

    def _get(self, request: Mapping[str, JSON]) -> JSON:
        item = self._existing(_table(request), _map(request, "Key"))
        return {"Item": item} if item else {}

    def _update(self, request: Mapping[str, JSON]) -> JSON:
        table, key = _table(request), _map(request, "Key")
        old = self._existing(table, key)
        _check(request, old)
        new = {**(old or {}), **key}
        if isinstance(expression := request.get("UpdateExpression"), str):
            assign(expression, Names.of(request), new)
        self._replace(table, old, new)
        wanted = str(request.get("ReturnValues"))
        return (
            {"Attributes": new if "NEW" in wanted else old or {}} if wanted.endswith(("NEW", "OLD")) else {}
        )

    def _delete(self, request: Mapping[str, JSON]) -> JSON:
        table = _table(request)
        old = self._existing(table, _map(request, "Key"))
        _check(request, old)
        self._replace(table, old, None)
        return {"Attributes": old} if old and request.get("ReturnValues") == "ALL_OLD" else {}

    def _find(self, request: Mapping[str, JSON]) -> JSON:
        names = Names.of(request)
        found = list(self.items.get(_table(request), []))
        for part in ("KeyConditionExpression", "FilterExpression"):
            if isinstance(expression := request.get(part), str):
                found = [item for item in found if holds(expression, names, item)]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def _batch_write(self, request: Mapping[str, JSON]) -> JSON:
        for table, writes in _map(request, "RequestItems").items():
            for write in writes if isinstance(writes, list) else []:
                if put := write.get("PutRequest"):
                    self._put({"TableName": table, **put})
                elif delete := write.get("DeleteRequest"):
                    self._delete({"TableName": table, **delete})
        return {"UnprocessedItems": {}}

    def _batch_get(self, request: Mapping[str, JSON]) -> JSON:
        found: dict[str, list[Item]] = {}
        for table, wanted in _map(request, "RequestItems").items():
            keys = wanted.get("Keys") or []
            found[table] = [item for key in keys if (item := self._existing(table, key))]
        return {"Responses": found, "UnprocessedKeys": {}}

    def _transact(self, request: Mapping[str, JSON]) -> JSON:
        """All or nothing: what was written before a condition failed is taken back."""
        before = {table: list(items) for table, items in self.items.items()}
        actions: dict[str, Callable[[Mapping[str, JSON]], JSON]] = {
            "Put": self._put,
            "Update": self._update,
            "Delete": self._delete,
            "ConditionCheck": lambda r: _check(r, self._existing(_table(r), _map(r, "Key"))),
        }
        reasons: list[JSON] = []
        for action in request.get("TransactItems") or []:
            reasons.append({"Code": "None"})
            for name, inner in action.items():
                try:
                    if name in actions:
                        actions[name](inner)
                except Refusal as refused:
                    if refused.code != "ConditionalCheckFailedException":
                        raise
                    reasons[-1] = {"Code": "ConditionalCheckFailed", "Message": str(refused)}
        if any(reason["Code"] != "None" for reason in reasons):
            self.items = before
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise Refusal(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                400,
                reasons=reasons,
            )
        return {}

    def _transact_get(self, request: Mapping[str, JSON]) -> JSON:
        return {"Responses": [self._get(get["Get"]) for get in request.get("TransactItems") or []]}

    def _key_of(self, table: str, item: Item, request: Mapping[str, JSON]) -> Item | None:
        """What tells this item from others: the table's key, or the attributes its condition names."""
        known = self.known[table].keys if table in self.known else ()
        for name in known:
            if name not in item:
                raise _invalid(
                    f"One or more parameter values were invalid: Missing the key {name} in the item"
                )
            if item[name] in ({"S": ""}, {"NULL": True}):
                raise _invalid(f"One or more parameter values are not valid: the key {name} has no value")
        condition = request.get("ConditionExpression")
        names = known or (named_in(condition, Names.of(request)) if isinstance(condition, str) else ())
        key = {name: item[name] for name in names if name in item}
        return key or None

    def _existing(self, table: str, key: Item | None) -> Item | None:
        for item in self.items.get(table, []) if key else []:
            if all(item.get(name) == value for name, value in (key or {}).items()):
                return item
        return None

    def _replace(self, table: str, old: Item | None, new: Item | None) -> None:
        kept = [item for item in self.items.get(table, []) if item is not old]
        self.items[table] = [*kept, new] if new is not None else kept


def _table(request: Mapping[str, JSON]) -> str:
    """The table's name, also of an ARN."""
    return str(request.get("TableName")).rsplit("/", 1)[-1]


def _map(request: Mapping[str, JSON], name: str) -> Item:
    value = request.get(name)
    return value if isinstance(value, dict) else {}


def _check(request: Mapping[str, JSON], item: Item | None) -> None:
    expression = request.get("ConditionExpression")
    if isinstance(expression, str) and not holds(expression, Names.of(request), item or {}):
        raise refusal_of("ConditionalCheckFailedException", "dynamodb", "")


def _check_values(node: JSON, depth: int = 0) -> None:
    """Refuses plain values where the low-level API wants `{"S": "text"}`."""
    if depth > 20:
        return
    if isinstance(node, list):
        for child in node:
            _check_values(child, depth + 1)
    if isinstance(node, dict):
        for name, child in node.items():
            if name in ("Item", "Key", "ExpressionAttributeValues") and isinstance(child, dict):
                for value in child.values():
                    _check_value(value)
            else:
                _check_values(child, depth + 1)


def _check_value(value: JSON) -> None:
    kind, inner = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", None)
    if kind in ("L", "M") and isinstance(inner, (list, dict)):
        for child in inner.values() if isinstance(inner, dict) else inner:
            _check_value(child)
    elif kind not in TYPES or not isinstance(inner, TYPES[kind]) or inner == []:
        raise _invalid("Supplied AttributeValue must contain exactly one of the supported datatypes")


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
