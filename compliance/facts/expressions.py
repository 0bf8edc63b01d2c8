"""Expressions of a document: compiled and checked when it is read, evaluated on what fills its subjects."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from fnmatch import fnmatchcase
from functools import cache

import msgspec

from compliance import cel
from compliance.cel.values import COMPARISONS, Range, show
from compliance.document.requirements import Document
from compliance.facts import elements
from compliance.facts.attributes import ATTRIBUTES, VALUES
from compliance.facts.functions import FACTS, FUNCTIONS, Fact
from compliance.facts.literals import capital, never, none_of, range_of, unknown_action, unlike
from compliance.facts.objects import Read, World
from compliance.facts.records import fields_of
from compliance.facts.wiring import Loose, Unfilled, Wiring
from compliance.model import Undecided
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.paths import dotted, steps
from compliance.template.physical_names import elsewhere

Place = tuple[str | int, ...]
MOST_PORT = 65_535
PORTS: Mapping[str, int] = {"covers": 1, "reaches": 2}  # by function, which argument is a port
STEPS_OF_PART = 100  # what it takes to evaluate a part of an expression by itself, beside its loops
# Groups that every document may name. A subject of the document with the same name replaces one.
BUILT_IN: Mapping[str, str] = {"resources": "*"} | {f"{kind}s": kind for kind in elements.KINDS}


class Shape(msgspec.Struct, frozen=True):
    """What is known of a value before an expression is evaluated.

    `types` are the types of resources that it may be; with `path` it is a value below these. `record` is the
    class of facts that it is. With `many` it is a list of these. `fields` are the only fields that it has;
    `values` are the only values of an attribute, or of what a fact gives. `literals` are what a list holds
    that is written out, or what one of its items may be. `wrong` says why a text is never one of the values.
    """

    types: tuple[str, ...] = ()
    path: str | None = None
    record: type | None = None
    many: bool = False
    fields: frozenset[str] | None = None
    values: tuple[str, ...] = ()
    literals: tuple[cel.Node, ...] = ()
    wrong: Callable[[str], str | None] | None = None

    @property
    def is_one(self) -> bool:
        """Whether it is one resource."""
        return bool(self.types) and self.path is None and not self.many

    @property
    def item(self) -> Shape:
        """The shape of its items."""
        if self.many or self.literals:
            return msgspec.structs.replace(self, many=False)
        return self.below("*") if self.path is not None else Shape()

    def below(self, step: str) -> Shape:
        """The shape of the value one step further down."""
        step = dotted((step,))
        return msgspec.structs.replace(self, path=f"{self.path}.{step}" if self.path else step)


def spread(types: Iterable[str]) -> tuple[str, ...]:
    """Types, with each pattern replaced by the types that match it, as far as the schemas know them."""
    return tuple(
        found
        for type_ in types
        for found in (("*" in type_ and type_ != "*" and schemas.types(type_)) or (type_,))
    )


# Checking


class Checker:
    """Finds misspelt fields of facts, properties of resource types, and values of properties.

    Args:
        scope: the shape of each name that the expression may read.
    """

    def __init__(self, scope: Mapping[str, Shape]) -> None:
        self.scope = ChainMap[str, Shape]({}, scope if isinstance(scope, MutableMapping) else dict(scope))
        self._shapes: dict[int, Shape] = {}  # by the id of a node

    def check(self, node: cel.Node) -> Shape:
        """The shape of a node's value. Raises SyntaxProblem."""
        found = self._shapes[id(node)] = self._checked(node)
        return found

    def range_of(self, node: cel.Node) -> Range | None:
        """The numbers that a node which was checked may be; None where the schemas do not say."""
        is_size = node.is_call and node.value == "size"
        shape = self._shapes.get(id(node.children[0] if is_size else node), Shape())
        if shape.values and not is_size:
            return Range(values=shape.values)
        if node.is_call and node.value == "seconds":
            return Range(0, whole=True, alone=True)
        if shape.many or shape.path is None or not shape.types or not all(map(schemas.is_known, shape.types)):
            return None
        if is_size:
            return Range(most=1 + max(schemas.most_at(type_, shape.path) for type_ in shape.types))
        return range_of(shape.types, shape.path)

    def _checked(self, node: cel.Node) -> Shape:
        match node.kind:
            case "name":
                return self.scope.get(node.value, Shape())
            case "select" | "has":
                return self._selected(self.check(node.children[0]), node)
            case "loop":
                return self._loop(node)
            case "call" | "method":
                shapes = [self.check(child) for child in node.children]
                if node.value == "values":
                    self._check_path(shapes[0], node.children[1])
                if node.value in PORTS and len(node.children) > PORTS[node.value]:
                    self._check_port(node.children[PORTS[node.value]])
                if node.value in ("may", "allows", "denies"):
                    self._check_actions(shapes[1].literals or node.children[1:2])
                fact = FACTS.get(node.value)
                return _result(fact) if fact else Shape()
            case "index":
                return self._indexed(self.check(node.children[0]), node)
        shapes = [self.check(child) for child in node.children]
        if node.kind in COMPARISONS or node.kind == "in":
            for shape, other in ((shapes[0], node.children[1]), (shapes[1], node.children[0])):
                self._compared(shape, other, node)
        if node.kind == "?":
            return shapes[1]
        if node.kind == "list":
            return Shape(literals=tuple(node.children))
        return shapes[0] if node.kind == "+" else Shape()

    def _check_path(self, shape: Shape, path: cel.Node) -> None:
        """Raises SyntaxProblem where none of a resource's possible types has a path, or where it is none."""
        try:
            steps(str(path.value) if path.kind == "const" else "")
        except ValueError as error:
            raise cel.SyntaxProblem(str(error), path.at) from None
        if path.kind == "const" and shape.types and "*" not in shape.types and shape.path is None:
            places = [(type_, elsewhere(type_, str(path.value))) for type_ in shape.types]
            if all(schemas.lacks(*place) for place in places):
                raise cel.SyntaxProblem(str(schemas.problem(*places[0])), path.at)

    def _check_port(self, node: cel.Node) -> None:
        """Raises SyntaxProblem on a number that is no port."""
        if node.kind == "const" and not (isinstance(node.value, str) or 0 <= node.value <= MOST_PORT):
            raise cel.SyntaxProblem(f"a port is 0 to {MOST_PORT}, never {show(node.value)}", node.at)

    def _check_actions(self, nodes: Iterable[cel.Node]) -> None:
        """Raises SyntaxProblem on the name of an action that IAM does not know: nobody may do that."""
        for node in nodes:
            if node.kind == "const" and isinstance(node.value, str) and (why := unknown_action(node.value)):
                raise cel.SyntaxProblem(why, node.at)

    def _loop(self, node: cel.Node) -> Shape:
        macro, name = node.value
        source, *bodies = node.children
        over = self.check(source)
        if over.is_one:
            message = f"{macro}: this is one resource, no list; a subject with `many: true` is a list"
            raise cel.SyntaxProblem(message, node.at)
        outer = self.scope
        self.scope = outer.new_child({name: over.item})
        found = [self.check(body) for body in bodies]
        self.scope = outer
        if macro == "filter":
            return over
        return msgspec.structs.replace(found[-1], many=True) if macro == "map" else Shape()

    def _selected(self, shape: Shape, node: cel.Node) -> Shape:
        name = node.value
        if shape.many:
            raise cel.SyntaxProblem(f"a list has no {name}; did you mean all(...) or exists(...)?", node.at)
        if shape.record:
            known = fields_of(shape.record)
            if name not in known:
                raise cel.SyntaxProblem(f"there is no {name}{cel.did_you_mean(name, known)}", node.at)
            return _field(shape.record, name)
        if shape.fields is not None:
            if name not in shape.fields:
                of_env = node.children[0].kind == "name" and node.children[0].value == "env"
                where = " in `environment.values` of the document" if of_env else ""
                hint = cel.did_you_mean(name, shape.fields)
                raise cel.SyntaxProblem(f"there is no {name}{where}{hint}", node.at)
            return Shape(wrong=shape.wrong if name == "name" else None)
        if shape.path is None and shape.types and name in ATTRIBUTES:
            if name == "depends_on":
                return Shape(many=True, types=("*",))
            is_there = node.children[0].kind == "name"  # what a fact gives may be null
            own = shape.types if name == "type" and is_there and "*" not in "".join(shape.types) else ()
            return Shape(path=name, values=VALUES.get(name, own))
        return self._stepped(shape, name, node)

    def _stepped(self, shape: Shape, step: str, node: cel.Node) -> Shape:
        """The shape of a property of resources. By the schemas, one of the types must have the property."""
        if not shape.types or "*" in shape.types:
            if shape.types and shape.path is None and step[:1].islower():
                hint = cel.did_you_mean(step, ATTRIBUTES)
                raise cel.SyntaxProblem(f"a resource has no {step}{hint}", node.at)
            return Shape()
        below = shape.below(step)
        path = below.path or ""
        having = tuple(type_ for type_ in shape.types if not _lacks(type_, path))
        if not having:
            found = [problem for type_ in shape.types if (problem := _problem(type_, path))]
            if any(" is a list; did you mean " in problem for problem in found) or self._is_list(shape):
                raise cel.SyntaxProblem(
                    f"a list has no {step}; did you mean all(...) or exists(...)?", node.at
                )
            if all("has nothing below it" in problem for problem in found):
                found = [f"{found[0]}; target(...) gives the resource that a value names"]
            best = next((problem for problem in found if "did you mean" in problem), None)
            hint = cel.did_you_mean(step, ATTRIBUTES) if shape.path is None and best is None else ""
            raise cel.SyntaxProblem((best or found[0]) + hint, node.at)
        return msgspec.structs.replace(below, types=having)

    def _is_list(self, shape: Shape) -> bool:
        return all(shape.path and schemas.takes_lists_alone(type_, shape.path) for type_ in shape.types)

    def _indexed(self, shape: Shape, node: cel.Node) -> Shape:
        key = node.children[1]
        self.check(key)
        if shape.many or shape.path is None:
            return shape.item if shape.many else Shape()
        if key.kind == "const" and isinstance(key.value, str):
            return self._stepped(shape, key.value, node)
        return self._stepped(shape, "*", node)

    def _compared(self, shape: Shape, other: cel.Node, node: cel.Node) -> None:
        """Raises SyntaxProblem where a property is compared with a literal that the schemas do not allow."""
        if node.kind == "in" and other is node.children[0]:  # a literal that a list may hold
            shape = shape.item if shape.many or (shape.path and self._is_list(shape)) else Shape()
        literals = [other] if other.kind == "const" else other.children if other.kind == "list" else []
        if shape.many and other.kind == "const" and node.kind in ("==", "!="):
            why = f"this is a list, never {show(other.value)}: `x in list` asks whether it holds x"
            raise cel.SyntaxProblem(why, other.at)
        if shape.many or (node.kind == "in" and other is node.children[1] and other.kind != "list"):
            return
        if other.kind == "list" and node.kind != "in" and shape.path is not None:
            shape = shape.below("*")
        for literal in literals:
            if literal.kind != "const":
                continue
            message = shape.wrong(literal.value) if shape.wrong and isinstance(literal.value, str) else None
            message = message or unlike(node.kind, _kind(shape, node), literal.value)
            if message is None and shape.values:
                message = none_of(shape.values, shape.path or "this", literal.value)
            elif message is None and shape.path is not None and shape.types:
                equal = node.kind in ("==", "!=", "in")
                message = never(shape.types, shape.path, literal.value, equal=equal)
            if message:
                raise cel.SyntaxProblem(message, literal.at)


def _kind(shape: Shape, node: cel.Node) -> str | None:
    """What a compared value is that no literal is, in words; None where it may be one.

    What a call gives may be a resource, or a value that names one elsewhere.
    """
    is_called = any(child.is_call for child in node.children)
    return "a fact" if shape.record else "a resource" if shape.is_one and not is_called else None


def _lacks(type_: str, path: str) -> bool:
    fields = elements.FIELDS.get(type_)
    return schemas.lacks(type_, path) if fields is None else path.split(".")[0] not in fields


def _problem(type_: str, path: str) -> str | None:
    if type_ in elements.FIELDS:
        first = path.split(".")[0]
        known = elements.FIELDS[type_]
        return None if first in known else f"a {type_} has no {first}{cel.did_you_mean(first, known)}"
    return schemas.problem(type_, path)


def _result(fact: Fact) -> Shape:
    """The shape of what a fact gives."""
    if fact.gives is Resource:
        return Shape(types=("*",), many=fact.many)
    if isinstance(fact.gives, str):
        return Shape(types=(fact.gives,), many=fact.many)
    return Shape(record=fact.gives, many=fact.many, values=fact.values)


@cache
def _field(record: type, name: str) -> Shape:
    """The shape of a record's field, by its annotation."""
    for field in msgspec.structs.fields(record):
        if field.name == name:
            many = getattr(field.type, "__origin__", None) is tuple
            inner = field.type.__args__[0] if many else field.type
            if inner is Resource:
                return Shape(types=("*",), many=many)
            is_record = isinstance(inner, type) and issubclass(inner, msgspec.Struct)
            return Shape(
                record=inner if is_record else None, many=many, wrong=capital if name == "protocol" else None
            )
    return Shape()


def compiled(
    document: Document,
    text: str,
    scope: Mapping[str, Shape],
    place: Place,
    *,
    may_be_false: bool = False,
    varies: bool = True,
) -> cel.Expression:
    """Compiles and checks a condition of a document.

    Args:
        document: the document, for messages.
        text: the expression.
        scope: the shape of each name that it may read.
        place: where it is in the document.
        may_be_false: whether it may be `false`.
        varies: whether it must be able to be true and false. A link of a subject that is true of all finds
            the subject where the other links no longer hold.
    Raises: InputError with file, line, field and column.
    """
    try:
        expression = cel.compile(text, scope, FUNCTIONS)
        if not document.checked:
            from compliance.facts.varying import check_varies

            checker = Checker(scope)
            checker.check(expression.root)
            if varies:
                check_varies(expression.root, checker.range_of, may_be_false=may_be_false)
    except cel.SyntaxProblem as error:
        where, before = document.words(*place), text[: error.column - 1]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        at = f"line {line}, column {column}" if "\n" in text.strip() else f"column {column}"
        if document.line(*place) is None:  # the document writes a short form
            where, at = document.words(*place[:-1]), f"`{text}`"
        raise document.error(f"{where}: {at}: {error.message}", *place) from None
    return expression


def names_in(node: cel.Node) -> Iterator[str]:
    """The names that an expression reads."""
    return (found.value for found in node.walk() if found.kind == "name")


# Evaluating


class Environment(cel.Host):
    """`env`: the environment's name, whether it keeps its data, and the document's values for it."""

    def __init__(self, name: str, values: Mapping[str, Mapping[str, object]], *, keeps_data: bool) -> None:
        self.name, self._values, self._keeps_data = name, values, keeps_data

    def get(self, name: str) -> object:
        if name == "name":
            return self.name
        exact = [values for key, values in self._values.items() if key == self.name]
        fitting = [values for key, values in self._values.items() if fnmatchcase(self.name, key)]
        for values in (*exact, *fitting):
            if name in values:
                return values[name]
        if name == "keeps_data":
            return self._keeps_data
        raise Undecided(f"the document says nothing of {name} for the environment {self.name}")

    def has(self, name: str) -> bool:
        try:
            self.get(name)
        except Undecided:
            return False
        return True


class Lacking(Undecided):
    """An expression reads a subject that nothing fills."""

    def __init__(self, why: str, name: str) -> None:
        super().__init__(why)
        self.name = name


class Outcome(msgspec.Struct, frozen=True):
    """The result of an expression: true, false, or None where it failed or depends on something unknown.

    `reads` is what was read of resources, and `why` the reason for None. `undecided` says that only the
    deployment decides it.
    """

    value: bool | None
    reads: tuple[Read, ...]
    why: str | None = None
    undecided: bool = False
    lacks: str | None = None  # the subject that nothing fills
    loose: bool = False  # see `Loose`

    @property
    def failed(self) -> bool:
        return self.value is not True and not self.undecided


class Bound:
    """The names of a document, bound to what fills its subjects in one assembly.

    Args:
        wiring: what fills the subjects.
        scope: the shape of each name, as `compiled` takes it.
        own: the names that the document defines itself.
        env: the value of `env`.
    """

    def __init__(
        self, wiring: Wiring, scope: Mapping[str, Shape], own: frozenset[str], env: Environment
    ) -> None:
        self.world, self._own = World(wiring, env.name), own
        self._too_much: set[cel.Expression] = set()  # they took too many steps once, and are not tried again
        self._bindings: dict[str, object] = {
            name: self._lazy(name, shape.many) for name, shape in scope.items() if name != "env"
        }
        self._bindings["env"] = env

    def all(self, name: str) -> tuple[Resource, ...]:
        """What fills a subject of the document, or a built-in group. Raises Unfilled."""
        if name in self._own or name not in BUILT_IN:
            return self.world.wiring.all(name)
        return group(self.world.assembly, (BUILT_IN[name],))

    def _lazy(self, name: str, many: bool) -> Callable[[], object]:
        def read() -> object:
            try:
                found = self.all(name) if many else (self.world.wiring.one(name),)
            except Unfilled as error:
                raise Undecided(str(error)) if error.doubt else Lacking(str(error), name) from None
            things = self.world.things(found)
            return things if many else things[0]

        return read

    def evaluate(self, expression: cel.Expression, resource: Resource | None = None) -> object:
        """The value of an expression; `self` is the resource. The world's trace has what was read.

        Raises: Undecided or Failed.
        """
        return expression.evaluate(self._bound(resource), self.world.trace)

    def _bound(self, resource: Resource | None) -> Mapping[str, object]:
        return self._bindings if resource is None else {**self._bindings, "self": self.world.thing(resource)}

    def outcome(
        self, expression: cel.Expression, resource: Resource | None = None, budget: cel.Budget | None = None
    ) -> Outcome:
        """Whether an expression holds, and what was read; `self` is the resource."""
        return self._outcome(expression, resource, self._bound(resource), budget or cel.Budget())

    def failures(self, expression: cel.Expression, resource: Resource, budget: cel.Budget) -> list[Outcome]:
        """The outcome of each part of an expression that fails by itself, such as an item of `all`.

        There are none where a list is not known, or where the budget does not suffice to find them all.
        """
        found: list[Outcome] = []
        try:
            for part, names in expression.parts(self._bound(resource), budget):
                budget.spend(STEPS_OF_PART)
                found.append(self._outcome(part, resource, names, budget))
        except (Undecided, cel.Failed):
            return []
        return [outcome for outcome in found if outcome.failed]

    def _outcome(
        self,
        expression: cel.Expression,
        resource: Resource | None,
        names: Mapping[str, object],
        budget: cel.Budget,
    ) -> Outcome:
        if expression in self._too_much:
            return Outcome(None, (), str(cel.TooMuchWork()), True)
        outer, self.world.trace = (self.world.trace, self.world.about), []
        self.world.about = resource
        try:
            value = expression.holds(names, self.world.trace, budget)
            return Outcome(value, _distinct(self.world.trace))
        except cel.TooMuchWork as error:
            self._too_much.add(expression)
            return Outcome(None, (), error.why, True)
        except Undecided as error:
            lacks = error.name if isinstance(error, Lacking) else None
            loose = isinstance(error, Loose)
            return Outcome(None, _distinct(self.world.trace), error.why, True, lacks, loose)
        except cel.Failed as error:
            return Outcome(None, _distinct(self.world.trace), str(error))
        finally:
            self.world.trace, self.world.about = outer


def _distinct(reads: list[Read]) -> tuple[Read, ...]:
    found: dict[tuple[Resource, str], Read] = {}
    for read in reads:
        found.setdefault((read.resource, read.path), read)
    return tuple(found.values())


def group(assembly: Assembly, types: Iterable[str]) -> tuple[Resource, ...]:
    """The resources, or elements, of these types or patterns of types, in the order of the templates."""
    types = tuple(types)
    found = [
        element
        for type_ in types
        if type_ in elements.KINDS
        for element in elements.elements(assembly, type_)
    ]
    patterns = [type_ for type_ in types if "*" in type_]
    if not patterns:
        exact = [type_ for type_ in types if type_ not in elements.KINDS]
        return (*found, *(assembly.resources(*exact) if exact else ()))
    fits = (
        r for r in assembly.resources() if r.type in types or any(fnmatchcase(r.type, p) for p in patterns)
    )
    return (*found, *fits)
