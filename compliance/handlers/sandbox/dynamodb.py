"""DynamoDB's items: keys, conditions, indexes, pages, batches and transactions, as the service has them.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import msgspec

from compliance.handlers.sandbox import Table
from compliance.handlers.sandbox.expressions import (
    Item,
    Names,
    Node,
    Steps,
    carry_out,
    condition,
    conjuncts,
    met,
    named_in,
    paths_in,
    projected,
    projection,
    update,
)
from compliance.handlers.sandbox.numbers import rank, stored, weight
from compliance.handlers.sandbox.refusal import NotStoodIn, Refusal, refusal_of
from compliance.json_data import JSON, array, as_array, as_mapping, mapping, mappings, whole

Request = dict[str, JSON]
Answer = dict[str, JSON]

LARGEST_ITEM = 400 * 1024
LARGEST_PAGE = 1024 * 1024
LARGEST_BATCH = 16 * 1024 * 1024
LARGEST_TRANSACTION = 4 * 1024 * 1024
# Parameters from before there were expressions, which are not evaluated here.
LEGACY = {
    "AttributeUpdates",
    "ConditionalOperator",
    "Expected",
    "KeyConditions",
    "QueryFilter",
    "ScanFilter",
}
EXPRESSIONS = (
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
)


class _Items(msgspec.Struct):
    """One table. Of a table that the template does not have, `keys` are learned from the requests."""

    keys: tuple[str, ...] = ()
    indexes: Mapping[str, tuple[str, ...]] | None = None
    types: Mapping[str, str] = msgspec.field(default_factory=dict)
    kept: dict[str, Item] = msgspec.field(default_factory=dict)

    def place(self, item: Item) -> str:
        """The text that identifies an item, by its keys. Without keys, each item is another one."""
        if not self.keys:
            return f"#{len(self.kept)}"
        return json.dumps([item.get(name) for name in self.keys], sort_keys=True)

    def learn(self, keys: Sequence[str]) -> None:
        if not self.keys and keys:
            self.keys = tuple(keys)
            self.kept = {self.place(item): item for item in self.kept.values()}


class Tables:
    """`known` are the tables that the template has. `page` is the most items that a page gets."""

    def __init__(self, known: Mapping[str, Table] | None = None) -> None:
        self.known = known or {}
        self.page: int | None = None
        self._tables: dict[str, _Items] = {}
        self._tokens: dict[JSON, Request] = {}

    def replace(self, items: Mapping[str, Sequence[dict[str, JSON]]], page: int | None = None) -> None:
        """Puts these items in place of all that there are."""
        self.page = page
        self._tables, self._tokens = {}, {}
        for name, given in items.items():
            table = self._items(name)
            for item in given:
                whole = _stored(item)
                table.kept[table.place(whole)] = whole

    def state(self) -> dict[str, tuple[Item, ...]]:
        """The items of each table, sorted by their keys."""
        return {
            name: tuple(item for _, item in sorted(table.kept.items()))
            for name, table in self._tables.items()
        }

    def answer(self, operation: str, request: Request) -> Answer:
        """The answer to a request. Raises Refusal as DynamoDB would, and NotStoodIn if unsupported."""
        answers: dict[str, Callable[[Request], Answer]] = {
            "PutItem": self._put,
            "GetItem": self._get,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
            "Query": self._query,
            "Scan": self._scan,
            "BatchWriteItem": self._batch_write,
            "BatchGetItem": self._batch_get,
            "TransactWriteItems": self._transact,
            "TransactGetItems": self._transact_get,
            "DescribeTable": self._describe,
        }
        if operation not in answers:
            raise NotStoodIn
        if legacy := LEGACY & set(request):
            raise NotStoodIn(f"with its legacy parameter {sorted(legacy)[0]}")
        answer = answers[operation](request)
        if request.get("ReturnConsumedCapacity", "NONE") != "NONE":
            answer = {**answer, "ConsumedCapacity": {"TableName": _name(request), "CapacityUnits": 1.0}}
        return answer

    # -- one item

    def _put(self, request: Request) -> Answer:
        table, item = self._items(_name(request)), _stored(mapping(request["Item"]))
        _return_values(request, "NONE", "ALL_OLD")
        names = Names.of(request)
        wanted = _condition(request, names)
        if wanted is not None:
            table.learn(named_in(request["ConditionExpression"], names))
        names.check_used(wanted is not None)
        _check_key(table, item, "Item")
        if _size(item) > LARGEST_ITEM:
            raise _invalid("Item size has exceeded the maximum allowed size")
        place = table.place(item)
        old = table.kept.get(place)
        _meet(wanted, old, request)
        table.kept[place] = item
        return {"Attributes": {**old}} if old and request.get("ReturnValues") == "ALL_OLD" else {}

    def _get(self, request: Request) -> Answer:
        names = Names.of(request)
        paths = _paths(request, names)
        names.check_used("ProjectionExpression" in request)
        _, _, item = self._found(request)
        if item is None:
            return {}
        return {"Item": {**(projected(item, paths) if paths else item)}}

    def _update(self, request: Request) -> Answer:
        table, place, old = self._found(request)
        wanted = str(request.get("ReturnValues", "NONE"))
        names = Names.of(request)
        required = _condition(request, names)
        actions = update(str(request["UpdateExpression"]), names) if "UpdateExpression" in request else []
        names.check_used(required is not None or bool(actions))
        paths = [steps for _, steps, _ in actions]
        if key := next((steps[0] for steps in paths if steps[0] in table.keys), None):
            raise _invalid(
                "One or more parameter values were invalid: Cannot update attribute "
                f"{key}. This attribute is part of the key"
            )
        _meet(required, old, request)
        new: Item = dict(old) if old else _stored(mapping(request["Key"]))
        carry_out(actions, new)
        new = _stored(new)
        if _size(new) > LARGEST_ITEM:
            raise _invalid("Item size to update has exceeded the maximum allowed size")
        table.kept[place] = new
        before_or_after = new if wanted.endswith("NEW") else old
        if wanted == "NONE" or before_or_after is None:
            return {}
        if wanted.startswith("UPDATED"):
            before_or_after = projected(before_or_after, paths)
        return {"Attributes": {**before_or_after}} if before_or_after else {}

    def _delete(self, request: Request) -> Answer:
        table, place, old = self._found(request)
        _return_values(request, "NONE", "ALL_OLD")
        names = Names.of(request)
        wanted = _condition(request, names)
        names.check_used(wanted is not None)
        _meet(wanted, old, request)
        table.kept.pop(place, None)
        return {"Attributes": {**old}} if old and request.get("ReturnValues") == "ALL_OLD" else {}

    def _check(self, request: Request) -> Answer:
        _, _, old = self._found(request)
        names = Names.of(request)
        wanted = _condition(request, names)
        names.check_used(wanted is not None)
        _meet(wanted, old, request)
        return {}

    def _found(self, request: Request) -> tuple[_Items, str, Item | None]:
        table, key = self._items(_name(request)), _stored(mapping(request["Key"]))
        table.learn(tuple(key))
        _check_key(table, key, "Key")
        place = table.place(key)
        return table, place, table.kept.get(place)

    # -- many items

    def _query(self, request: Request) -> Answer:
        names = Names.of(request)
        table, expression = self._items(_name(request)), request.get("KeyConditionExpression")
        if not expression:
            raise _invalid(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
                "request."
            )
        tree = condition(str(expression), names)
        keys = self._keys_of(table, request) or _equal_to(tree)
        if "IndexName" not in request and not table.keys:
            # A further attribute in the condition is the table's sort key.
            table.learn((*keys, *sorted(paths_in(tree) - set(keys))))
        _check_key_condition(tree, keys)
        found = [item for item in table.kept.values() if met(tree, item) and _indexed(item, keys)]
        if len(keys) > 1:
            found.sort(key=lambda item: rank(item[keys[1]]))
        if request.get("ScanIndexForward") is False:
            found.reverse()
        return self._page(request, names, table, found, keys)

    def _scan(self, request: Request) -> Answer:
        names, table = Names.of(request), self._items(_name(request))
        keys = self._keys_of(table, request)
        segment, segments = whole(request.get("Segment", 0)), whole(request.get("TotalSegments", 1))
        found = [item for item in table.kept.values() if _indexed(item, keys)][segment::segments]
        return self._page(request, names, table, found, ())

    def _page(
        self, request: Request, names: Names, table: _Items, found: list[Item], keys: Sequence[str]
    ) -> Answer:
        filter_ = _condition(request, names, "FilterExpression")
        if filter_ is not None and (barred := paths_in(filter_) & set(keys)):
            raise _invalid(
                "Filter Expression can only contain non-primary key attributes: Primary key attribute: "
                f"{sorted(barred)[0]}"
            )
        paths = _paths(request, names)
        names.check_used(any(part in request for part in EXPRESSIONS))
        start = request.get("ExclusiveStartKey")
        if isinstance(start, dict):
            after = [i for i, item in enumerate(found) if all(item.get(k) == v for k, v in start.items())]
            if not after:
                raise _invalid("The provided starting key is invalid")
            found = found[after[0] + 1 :]
        page, more = self._cut(found, whole(request.get("Limit") or 0))
        kept = [item for item in page if filter_ is None or met(filter_, item)]
        answer: Answer = {"Count": len(kept), "ScannedCount": len(page)}
        if request.get("Select") != "COUNT":
            answer["Items"] = [{**(projected(item, paths) if paths else item)} for item in kept]
        if more:
            last = page[-1]
            wanted = dict.fromkeys((*table.keys, *self._keys_of(table, request), *keys))
            answer["LastEvaluatedKey"] = {name: last[name] for name in wanted if name in last}
        return answer

    def _cut(self, found: list[Item], limit: int) -> tuple[list[Item], bool]:
        most = min(limit or len(found), self.page or len(found))
        size = 0
        for i, item in enumerate(found[:most]):
            size += _size(item)
            if size > LARGEST_PAGE:
                return found[: i + 1], i + 1 < len(found)
        # DynamoDB also announces a next page where the limit equals the number of items.
        return found[:most], most < len(found) or (most == limit > 0 and bool(found))

    def _keys_of(self, table: _Items, request: Request) -> tuple[str, ...]:
        index = request.get("IndexName")
        if index is None:
            return table.keys
        if table.indexes is None:
            return ()
        if str(index) not in table.indexes:
            raise _invalid(f"The table does not have the specified index: {index}")
        return table.indexes[str(index)]

    def _batch_write(self, request: Request) -> Answer:
        tables = mapping(request["RequestItems"])
        writes = [(name, write) for name, of_table in tables.items() for write in mappings(of_table)]
        if len(writes) > 25:
            raise _invalid("Too many items requested for the BatchWriteItem call")
        _check_size(request, LARGEST_BATCH)
        seen: set[tuple[str, str]] = set()
        for name, write in writes:
            table = self._items(name)
            put, delete = as_mapping(write.get("PutRequest")), as_mapping(write.get("DeleteRequest"))
            sent = put.get("Item") or delete.get("Key")
            if sent is None or len(write) != 1:
                raise _invalid("Supplied AttributeValue has more than one datatypes set")
            if "DeleteRequest" in write:
                table.learn(tuple(mapping(sent)))
            item = _stored(mapping(sent))
            _check_key(table, item, "Key" if "DeleteRequest" in write else "Item")
            place = (name, table.place(item) if table.keys else json.dumps(item, sort_keys=True))
            if place in seen:
                raise _invalid("Provided list of item keys contains duplicates")
            seen.add(place)
        for name, write in writes:
            if "PutRequest" in write:
                self._put({"TableName": name, **mapping(write["PutRequest"])})
            else:
                self._delete({"TableName": name, **mapping(write["DeleteRequest"])})
        return {"UnprocessedItems": {}}

    def _batch_get(self, request: Request) -> Answer:
        asked = {name: mapping(of) for name, of in mapping(request["RequestItems"]).items()}
        wanted = [(name, of, key) for name, of in asked.items() for key in array(of["Keys"])]
        keys = [json.dumps([name, key], sort_keys=True) for name, _, key in wanted]
        if len(keys) > 100:
            raise _invalid("Too many items requested for the BatchGetItem call")
        if len(set(keys)) < len(keys):
            raise _invalid("Provided list of item keys contains duplicates")
        found: dict[str, list[JSON]] = {name: [] for name in asked}
        for name, of, key in wanted:
            rest = {part: value for part, value in of.items() if part != "Keys"}
            if answer := self._get({"TableName": name, **rest, "Key": key}):
                found[name].append(answer["Item"])
        return {"Responses": {**found}, "UnprocessedKeys": {}}

    def _transact(self, request: Request) -> Answer:
        """A transaction: if a condition fails, what was written before is undone."""
        _check_size(request, LARGEST_TRANSACTION)
        token = request.get("ClientRequestToken")
        if token in self._tokens:
            if self._tokens[token] != request:
                raise refusal_of("IdempotentParameterMismatchException", "dynamodb", "TransactWriteItems")
            return {}
        actions: dict[str, Callable[[Request], Answer]] = {
            "Put": self._put,
            "Update": self._update,
            "Delete": self._delete,
            "ConditionCheck": self._check,
        }
        undo: list[tuple[_Items, str, Item | None]] = []
        reasons: list[Answer] = []
        try:
            for action in mappings(request["TransactItems"]):
                if len(action) != 1:
                    raise _invalid("TransactItems can only contain one of Check, Put, Update or Delete")
                ((name, parts),) = action.items()
                inner = mapping(parts)
                table, place = self._apart(inner, undo)
                undo.append((table, place, table.kept.get(place)))
                try:
                    actions[name](inner)
                    reasons.append({"Code": "None"})
                except Refusal as refused:
                    if refused.code != "ConditionalCheckFailedException":
                        raise
                    item = {"Item": refused.extra["item"]} if "item" in refused.extra else {}
                    reasons.append({"Code": "ConditionalCheckFailed", "Message": str(refused), **item})
            if any(reason["Code"] != "None" for reason in reasons):
                raise cancelled(reasons)
        except Refusal:
            for table, place, old in reversed(undo):
                if old is None:
                    table.kept.pop(place, None)
                else:
                    table.kept[place] = old
            raise
        if token:
            self._tokens[token] = request
        return {}

    def _apart(self, inner: Request, others: Sequence[tuple[_Items, str, Item | None]]) -> tuple[_Items, str]:
        """The table and place of an action's item. Raises Refusal if another action has the same item."""
        table = self._items(_name(inner))
        if "Key" in inner:
            table.learn(tuple(mapping(inner["Key"])))
        elif "ConditionExpression" in inner:
            table.learn(named_in(inner["ConditionExpression"], Names.of(inner)))
        place = table.place(_stored(mapping(inner["Key"] if "Key" in inner else inner["Item"])))
        if any(other is table and place == taken for other, taken, _ in others):
            raise _invalid("Transaction request cannot include multiple operations on one item")
        return table, place

    def _transact_get(self, request: Request) -> Answer:
        return {"Responses": [self._get(mapping(get["Get"])) for get in mappings(request["TransactItems"])]}

    def _describe(self, request: Request) -> Answer:
        name = _name(request)
        if name not in self.known:
            raise NotStoodIn(f"of {name}, a table that is not in the template")
        return {
            "Table": {"TableName": name, "TableStatus": "ACTIVE", "KeySchema": _schema(self.known[name].keys)}
        }

    def _items(self, name: str) -> _Items:
        if name not in self._tables:
            known = self.known.get(name)
            self._tables[name] = _Items(known.keys, known.indexes, known.types) if known else _Items()
        return self._tables[name]


def cancelled(reasons: Sequence[Answer]) -> Refusal:
    """The refusal of a transaction, by the reasons of its actions."""
    codes = ", ".join(str(reason["Code"]) for reason in reasons)
    text = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return Refusal("TransactionCanceledException", text, 400, reasons=[*reasons])


def _schema(keys: Sequence[str]) -> JSON:
    return [{"AttributeName": n, "KeyType": t} for n, t in zip(keys, ("HASH", "RANGE"), strict=False)]


def _name(request: Request) -> str:
    """The table's name, which may be given as an ARN."""
    return str(request.get("TableName")).rsplit("/", 1)[-1]


def _size(item: Item) -> int:
    return sum(len(name.encode()) + weight(value) for name, value in item.items())


def _stored(item: Mapping[str, JSON]) -> Item:
    return {name: stored(value) for name, value in item.items()}


def _check_key(table: _Items, item: Item, what: str) -> None:
    if what == "Key" and table.keys and set(item) != set(table.keys):
        raise _invalid("The provided key element does not match the schema")
    for name in table.keys:
        if name not in item:
            raise _invalid(f"One or more parameter values were invalid: Missing the key {name} in the item")
        kind, inner = next(iter(item[name].items()))
        wanted = table.types.get(name)
        if kind not in ("S", "N", "B") or (wanted and kind != wanted):
            raise _invalid(
                f"One or more parameter values were invalid: Type mismatch for key {name} "
                f"expected: {wanted or 'S'} actual: {kind}"
            )
        if inner == "":
            raise _invalid(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                f"contain an empty string value. Key: {name}"
            )
    for index, keys in (table.indexes or {}).items() if what == "Item" else ():
        for name in keys:
            actual = next(iter(item[name])) if name in item else None
            if actual is not None and actual != table.types.get(name, actual):
                raise _invalid(
                    f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
                    f"Expected: {table.types[name]} Actual: {actual} IndexName: {index}"
                )


def _condition(request: Request, names: Names, part: str = "ConditionExpression") -> Node | None:
    expression = request.get(part)
    return None if expression is None else condition(str(expression), names)


def _meet(wanted: Node | None, item: Item | None, request: Request) -> None:
    if wanted is not None and not met(wanted, item or {}):
        refusal = Refusal("ConditionalCheckFailedException", "The conditional request failed", 400)
        if item and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            refusal.extra["item"] = {**item}
        raise refusal


def _return_values(request: Request, *allowed: str) -> None:
    if (value := request.get("ReturnValues", "NONE")) not in allowed:
        raise _invalid(f"ReturnValues can only be {' or '.join(allowed)}; found {value}")


def _paths(request: Request, names: Names) -> list[Steps]:
    if "ProjectionExpression" in request:
        return projection(str(request["ProjectionExpression"]), names)
    return [(str(name),) for name in as_array(request.get("AttributesToGet"))]


def _equal_to(tree: Node) -> tuple[str, ...]:
    """The attribute that a key condition wants equal to a value: the partition key."""
    paths = [part.operands[0].path for part in conjuncts(tree) if part.operator == "="]
    return tuple(str(path[0]) for path in paths if path)[:1]


def _check_key_condition(tree: Node, keys: Sequence[str]) -> None:
    parts = conjuncts(tree)
    fits = {"=", "<", "<=", ">", ">=", "between", "begins_with"}
    if any(part.operator not in fits for part in parts) or len(parts) > 2:
        raise _invalid("Invalid operator used in KeyConditionExpression")
    equal = {name for part in parts if part.operator == "=" for name in paths_in(part)}
    if keys and keys[0] not in equal:
        raise _invalid(f"Query condition missed key schema element: {keys[0]}")
    if len(keys) > 1 and (other := paths_in(tree) - set(keys)):
        raise _invalid(f"Query key condition not supported: {sorted(other)[0]} is no key")


def _indexed(item: Item, keys: Sequence[str]) -> bool:
    """Whether an index contains an item: the item must have all of its keys."""
    return all(name in item for name in keys)


def _check_size(request: Request, most: int) -> None:
    if len(json.dumps(request)) > most + 4096:
        raise _invalid(f"Request size exceeds the maximum of {most >> 20} MB")


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
