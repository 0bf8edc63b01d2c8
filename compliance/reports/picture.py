"""The layout of a diagram: boxes in columns along the arrows, alarms below the resource that they watch.

This is a layered drawing. The layout reverses arrows that lead back. An arrow that passes a column gets a
lane between its boxes. Each column is sorted so that few arrows cross. Every arrow has its own place at a
box's side, and every label a place without another label.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from compliance.model import Diagram, Edge, Node

WIDTH, HEIGHT, CHIP = 160, 58, 22
GAP_X, GAP_Y, MARGIN = 56, 30, 12
LANE = 16  # the height of an arrow's lane in a column, and of a label
LETTER = 6.6  # the width of a label's letter
MOST, MOST_ARROWS = 60, 150  # boxes and arrows: nobody can read a larger picture
TITLE, KIND = 10.8, 14.4  # the widest texts in a box, in widths of the letter M in their sizes
SWEEPS = 8  # passes over the columns
ALARM = "AWS::CloudWatch::Alarm"
USES = "uses"  # the least specific label: its arrows are dotted, and have no text
KINDS: Mapping[str, str] = {
    "AWS::DynamoDB::Table": "DynamoDB table",
    "AWS::DynamoDB::GlobalTable": "DynamoDB table",
    "AWS::Lambda::Function": "Lambda function",
    "AWS::SQS::Queue": "SQS queue",
    "AWS::S3::Bucket": "S3 bucket",
    "AWS::SNS::Topic": "SNS topic",
    ALARM: "alarm",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "load balancer",
    "AWS::ElasticLoadBalancingV2::Listener": "listener",
    "AWS::ElasticLoadBalancingV2::TargetGroup": "target group",
    "AWS::ApiGatewayV2::Api": "API Gateway API",
    "AWS::ApiGateway::RestApi": "REST API",
}
Key = str | tuple[int, int]  # a box, or the lane of an arrow (its number) in a column


class Box(msgspec.Struct, frozen=True):
    """A box for a resource or for the alarms of one. `nodes` are the resources that it stands for."""

    x: int
    y: int
    height: int
    title: str
    kind: str
    nodes: tuple[Node, ...]
    width: int = WIDTH


class Arrow(msgspec.Struct, frozen=True):
    """A path of SVG, and the middle of its label."""

    path: str
    x: int
    y: int
    label: str
    edge: Edge


class Picture(msgspec.Struct, frozen=True):
    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    left_out: int  # the number of resources without a box
    arrows_left_out: int


def kind(type_: str) -> str:
    """A resource type in words: `SQS queue`, or `Events Rule` of `AWS::Events::Rule`."""
    return KINDS.get(type_) or " ".join(type_.split("::")[-2:])


def draw(diagram: Diagram) -> Picture:
    """The picture of a diagram. Of one with too many resources, connected ones are drawn first."""
    ends = {node.id: node for node in diagram.nodes if node.end}
    alarms = _alarms(diagram, ends)
    groups, telling = _groups(diagram, ends)
    hidden = {*alarms, *(node.id for nodes in groups.values() for node in nodes)}
    edges = [e for e in diagram.edges if not {e.tail, e.head} & hidden and {e.tail, e.head} <= ends.keys()]
    shown = [*(id_ for id_ in ends if id_ not in hidden), *groups]
    touched = {id_ for e in (*edges, *telling) for id_ in (e.tail, e.head)}
    chosen = sorted(shown, key=lambda id_: id_ not in touched)[:MOST]
    edges = [e for e in (*edges, *telling) if e.tail != e.head and {e.tail, e.head} <= {*chosen}]
    watching: dict[str, list[Node]] = defaultdict(list)
    for alarm, watched in alarms.items():
        watching[watched].append(ends[alarm])
    left_out = sum(id_ in ends for id_ in shown) - sum(id_ in ends for id_ in chosen)
    drawn = sorted(edges, key=lambda e: e.label == USES)[:MOST_ARROWS]
    layout = _Layout(chosen, drawn, set(watching))
    boxes = [box for id_ in chosen for box in _boxes(id_, layout, ends, groups, watching[id_])]
    return Picture(
        layout.width, layout.height, tuple(boxes), tuple(layout.arrows()), left_out, len(edges) - len(drawn)
    )


def _alarms(diagram: Diagram, ends: Mapping[str, Node]) -> dict[str, str]:
    """By alarm, the resource that it watches. An alarm without one has a box of its own."""
    return {
        e.head: e.tail
        for e in reversed(diagram.edges)
        if e.head in ends and e.tail in ends and ends[e.head].type == ALARM
    }


def _groups(diagram: Diagram, ends: Mapping[str, Node]) -> tuple[dict[str, list[Node]], list[Edge]]:
    """The alarms that notify the same resource, as one box, and the arrow from the box."""
    groups: dict[str, list[Node]] = defaultdict(list)
    for edge in diagram.edges:
        tail, head = ends.get(edge.tail), ends.get(edge.head)
        if tail and head and tail.type == ALARM != head.type:
            groups[edge.head].append(tail)
    named = {f"alarms of {head}": nodes for head, nodes in groups.items()}
    return named, [Edge(id_, head, "tell") for id_, head in zip(named, groups, strict=True)]


def _boxes(
    id_: str,
    layout: _Layout,
    ends: Mapping[str, Node],
    groups: Mapping[str, Sequence[Node]],
    watching: Sequence[Node],
) -> Iterator[Box]:
    """A resource's box, and its alarms' below it; or the box of a group of alarms."""
    x, y = layout.x[layout.column[id_]], layout.y[id_]
    nodes = tuple(groups.get(id_) or (ends[id_],))
    title = nodes[0].label if len(nodes) == 1 else _count(nodes)
    kind_ = kind(nodes[0].type) if id_ in ends else "CloudWatch alarm" + "s" * (len(nodes) > 1)
    yield Box(x, y, HEIGHT, short(title, TITLE), short(kind_, KIND), nodes)
    if watching:
        yield Box(x, y + HEIGHT, CHIP, _count(watching), "", tuple(watching))


def _count(alarms: Sequence[Node]) -> str:
    return f"{len(alarms)} alarm{'s' * (len(alarms) != 1)}"


def short(text: str, room: float) -> str:
    """A text, truncated to a width in widths of the letter M."""
    used = [0.0]
    for letter in text:
        used.append(used[-1] + _width(letter))
    if used[-1] <= room:
        return text
    return text[: max(n for n, width in enumerate(used) if width <= room - _width("…") or not n)] + "…"


def _width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.2
    if letter in "fijlrtI.,:;'|!()[]- /":
        return 0.42
    return 1.0 if letter in "mwMW@%…" else 0.8 if letter.isupper() else 0.68


class _Layout:
    """The places of boxes and arrows: `column` and `y` of each box, `x` of each column."""

    def __init__(self, ids: Sequence[str], edges: Sequence[Edge], taller: set[str]) -> None:
        self.edges, self._taller = edges, taller
        touched = {id_ for edge in edges for id_ in (edge.tail, edge.head)}
        joined = [id_ for id_ in ids if id_ in touched]
        self.column = _columns(joined, edges)
        self._routes = [self._route(number, edge) for number, edge in enumerate(edges)]
        self._left, self._right = self._neighbours()
        self.x = self._columns_x()
        layers = self._sorted(joined)
        self.y: dict[Key, int] = dict.fromkeys((key for layer in layers for key in layer), 0)
        for _ in range(SWEEPS):
            self._place(layers, self._left)
            self._place(layers[::-1], self._right)
        least = min(self.y.values(), default=MARGIN) - MARGIN
        self.y = {key: y - least for key, y in self.y.items()}
        self._add_loose([id_ for id_ in ids if id_ not in touched])
        self.width = max((self.x[c] + WIDTH for c in self.column.values()), default=0) + MARGIN
        self.height = max((y + self._height(key) for key, y in self.y.items()), default=0) + MARGIN

    def _route(self, number: int, edge: Edge) -> list[Key]:
        """An arrow's route from left to right: a box, a lane in each column between, and a box."""
        first, last = sorted((edge.tail, edge.head), key=lambda id_: self.column[id_])
        between = range(self.column[first] + 1, self.column[last])
        return [first, *((number, column) for column in between), last]

    def _neighbours(self) -> tuple[dict[Key, list[Key]], dict[Key, list[Key]]]:
        left: dict[Key, list[Key]] = defaultdict(list)
        right: dict[Key, list[Key]] = defaultdict(list)
        for route in self._routes:
            for one, other in pairwise(route):
                right[one].append(other)
                left[other].append(one)
        return left, right

    def _columns_x(self) -> list[int]:
        """Each column's left side, with room before it for the widest label of an arrow that ends there."""
        room: dict[int, float] = defaultdict(float)
        for edge, route in zip(self.edges, self._routes, strict=True):
            wide = 0 if edge.label == USES else (len(edge.label) + 5) * LETTER
            room[self._column(route[-1])] = max(room[self._column(route[-1])], wide)
        x = [MARGIN]
        for column in range(1, 1 + max(4, *self.column.values(), 0)):
            x.append(x[-1] + WIDTH + max(GAP_X, round(room[column]) + 16))
        return x

    def _column(self, key: Key) -> int:
        return self.column[key] if isinstance(key, str) else key[1]

    def _sorted(self, joined: Sequence[str]) -> list[list[Key]]:
        """The columns from top to bottom, in the order with the fewest crossings that the sweeps find."""
        layers: list[list[Key]] = [[] for _ in range(1 + max(self.column.values(), default=-1))]
        for key in (*joined, *(key for route in self._routes for key in route[1:-1])):
            layers[self._column(key)].append(key)
        best, fewest = layers, self._crossings(layers)
        for sweep in range(SWEEPS):
            order = list(range(len(layers)))[:: -1 if sweep % 2 else 1]
            near = self._right if sweep % 2 else self._left
            layers = [*layers]
            for number in order:
                rank = {key: n for layer in layers for n, key in enumerate(layer)}
                layers[number] = sorted(layers[number], key=_mean_of(rank, near))
            if (crossings := self._crossings(layers)) < fewest:
                best, fewest = layers, crossings
        return best

    def _crossings(self, layers: Sequence[Sequence[Key]]) -> int:
        rank = {key: n for layer in layers for n, key in enumerate(layer)}
        count = 0
        for layer in layers:
            seen: list[int] = []
            for _, head in sorted((rank[tail], rank[head]) for tail in layer for head in self._right[tail]):
                count += len(seen) - bisect_right(seen, head)
                insort(seen, head)
        return count

    def _height(self, key: Key) -> int:
        return LANE if isinstance(key, tuple) else HEIGHT + CHIP * (key in self._taller)

    def _middle(self, key: Key) -> int:
        return self.y[key] + (LANE if isinstance(key, tuple) else HEIGHT) // 2

    def _place(self, layers: Sequence[Sequence[Key]], near: Mapping[Key, Sequence[Key]]) -> None:
        """Moves each box towards the mean height of its neighbours, as far as its column has room.

        Boxes that would overlap become a block, at the mean of the heights that they want.
        """
        for layer in layers:
            below, blocks = 0, list[tuple[float, list[tuple[Key, int]]]]()
            for key in layer:
                others = [self._middle(other) for other in near[key] if other in self.y]
                half = self._middle(key) - self.y[key]
                wanted = sum(others) / len(others) - half if others else self.y[key]
                top, keys = wanted - below, [(key, below)]
                while blocks and blocks[-1][0] > top:
                    before, above = blocks.pop()
                    top = (before * len(above) + top * len(keys)) / (len(above) + len(keys))
                    keys = above + keys
                blocks.append((top, keys))
                below += self._height(key) + (0 if isinstance(key, tuple) else GAP_Y)
            self.y |= {key: round(top) + offset for top, keys in blocks for key, offset in keys}

    def _add_loose(self, loose: Sequence[str]) -> None:
        """Places boxes without arrows in rows below the others."""
        below = max((y + self._height(key) + GAP_Y for key, y in self.y.items()), default=MARGIN)
        per_row = 5
        for index, id_ in enumerate(loose):
            self.column[id_] = index % per_row
            self.y[id_] = below + index // per_row * (HEIGHT + CHIP + GAP_Y)

    def arrows(self) -> Iterator[Arrow]:
        labels: list[tuple[int, int]] = []
        ports = self._ports()
        for number, (edge, route) in enumerate(zip(self.edges, self._routes, strict=True)):
            turned = edge.head == route[0]
            points = [self._points(number, key, ports) for key in route]
            line = [point for pair in points for point in pair][1:-1]
            label = "" if edge.label == USES else edge.label
            x, y = _free_place(line[-2:], labels) if label else line[-1]
            if label:
                labels.append((x, y))
            yield Arrow(_path(line[::-1] if turned else line), x, y, label, edge)

    def _points(
        self, number: int, key: Key, ports: Mapping[tuple[int, Key], tuple[int, int]]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """The points at which an arrow enters and leaves a box or a lane."""
        x = self.x[self._column(key)]
        if isinstance(key, tuple):
            return (x, self._middle(key)), (x + WIDTH, self._middle(key))
        left, right = ports[number, key]
        return (x, left), (x + WIDTH, right)

    def _ports(self) -> dict[tuple[int, Key], tuple[int, int]]:
        """The heights at which each arrow touches a box's sides, in the order of their other ends."""
        sides: dict[tuple[Key, bool], list[tuple[int, int]]] = defaultdict(list)
        for number, route in enumerate(self._routes):
            sides[route[0], True].append((self._middle(route[1]), number))
            sides[route[-1], False].append((self._middle(route[-2]), number))
        ports: dict[tuple[int, Key], tuple[int, int]] = {}
        for (key, _), touching in sides.items():
            for place, (_, number) in enumerate(sorted(touching), 1):
                height = self.y[key] + HEIGHT * place // (len(touching) + 1)
                ports[number, key] = height, height
        return ports


def _mean_of(rank: Mapping[Key, int], near: Mapping[Key, Sequence[Key]]) -> Callable[[Key], float]:
    def mean(key: Key) -> float:
        others = [rank[other] for other in near[key]]
        return sum(others) / len(others) if others else rank[key]

    return mean


def _path(points: Sequence[tuple[int, int]]) -> str:
    """A path of SVG: curves between columns, straight lines in lanes, and room for the arrowhead."""
    *_, before, (x, y) = points
    points = [*points[:-1], (x - 4 if before[0] < x else x + 4, y)]
    path = f"M{points[0][0]} {points[0][1]}"
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        middle = (x + to_x) // 2
        path += f" H{to_x}" if number % 2 else f" C{middle} {y} {middle} {to_y} {to_x} {to_y}"
    return path


def _free_place(line: Sequence[tuple[int, int]], labels: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """A place on an arrow's last curve, or beside it, that does not overlap another label."""
    (x, y), (to_x, to_y) = line
    middle = (x + to_x) // 2
    others = [label_y for label_x, label_y in labels if abs(label_x - middle) < WIDTH]
    on_curve = [round(y + (to_y - y) * (3 * t * t - 2 * t**3)) for t in (0.5, 0.62, 0.38, 0.74, 0.26, 0.86)]
    beside = [(y + to_y) // 2 + side * step * LANE for step in range(1, 9) for side in (1, -1)]
    free = (p for p in (*on_curve, *beside) if all(abs(p - other) >= LANE for other in others))
    return middle, next((p for p in free if p >= LANE), on_curve[0])


def _columns(ids: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """By box, its column: to the right of every box with an arrow to it."""
    heads: dict[str, list[str]] = defaultdict(list)
    pointed = set()
    for edge in _without_cycles(ids, edges):
        heads[edge.tail].append(edge.head)
        pointed.add(edge.head)
    column = dict.fromkeys(ids, 0)
    for _ in ids:
        for id_ in ids:
            for head in heads[id_]:
                column[head] = max(column[head], column[id_] + 1)
    for id_ in ids:  # a box without an incoming arrow is placed next to the box that it points to
        if heads[id_] and id_ not in pointed:
            column[id_] = min(column[head] for head in heads[id_]) - 1
    return column


def _without_cycles(ids: Sequence[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges without those that lead back to a box on the route to them."""
    heads: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        heads[edge.tail].append(edge)
    kept: list[Edge] = []
    done: set[str] = set()

    def visit(id_: str, route: tuple[str, ...]) -> None:
        done.add(id_)
        for edge in heads[id_]:
            if edge.head in (*route, id_):
                continue
            kept.append(edge)
            if edge.head not in done:
                visit(edge.head, (*route, id_))

    pointed = {edge.head for edge in edges}
    for id_ in sorted(ids, key=lambda id_: id_ in pointed):
        if id_ not in done:
            visit(id_, ())
    return kept
