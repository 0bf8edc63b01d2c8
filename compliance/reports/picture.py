"""The layout of a diagram: boxes in columns along the arrows, alarms below the resource that they watch."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from compliance.model import Diagram, Edge, Node

WIDTH, HEIGHT, CHIP = 148, 58, 22
GAP_X, GAP_Y, MARGIN = 86, 34, 12
LABEL = 20  # the height of an arrow's label above it
MOST = 60  # boxes; a larger picture shows nothing
TITLE, KIND = 15, 21  # letters that a box holds, of two sizes
ALARM = "AWS::CloudWatch::Alarm"
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
    "AWS::ApiGatewayV2::Api": "HTTP API",
    "AWS::ApiGateway::RestApi": "REST API",
}


class Box(msgspec.Struct, frozen=True):
    """One drawn thing: a resource, or the alarms of one (`nodes` are all that it stands for)."""

    x: int
    y: int
    height: int
    title: str
    kind: str
    nodes: tuple[Node, ...]
    width: int = WIDTH


class Arrow(msgspec.Struct, frozen=True):
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
    left_out: int
    top: int = 0  # what leads back above the first row needs room


def kind(type_: str) -> str:
    """A resource type in words: `SQS queue`, or `Events Rule` of `AWS::Events::Rule`."""
    return KINDS.get(type_) or " ".join(type_.split("::")[-2:])


def draw(diagram: Diagram) -> Picture:
    ends = {node.id: node for node in diagram.nodes if node.end}
    alarms = _alarms(diagram, ends)
    notified = {e.head for e in diagram.edges if e.tail in alarms} - set(alarms)
    edges = [e for e in diagram.edges if not {e.tail, e.head} & (alarms.keys() | notified)]
    touched = {id_ for e in edges for id_ in (e.tail, e.head)}
    rest = [id_ for id_ in ends if id_ not in touched and id_ not in alarms]
    chosen = set([*(id_ for id_ in ends if id_ in touched), *rest][:MOST])
    edges = [e for e in edges if e.tail in chosen and e.head in chosen]
    places = _columns([id_ for id_ in touched_in_order(ends, touched) if id_ in chosen], edges)
    below = 1 + max((row for _, row in places.values()), default=-1)
    wide = max(4, 1 + max((column for column, _ in places.values()), default=0))
    loose = [id_ for id_ in rest if id_ in chosen]
    last = [*(["alarms"] if notified else []), *sorted(notified & set(loose), key=loose.index)]
    last += [id_ for id_ in loose if id_ not in last]
    for index, id_ in enumerate(last):
        places[id_] = (index % wide, below + index // wide)
    return _picture(diagram, ends, alarms, places, edges, len(ends) - len(alarms) - len(chosen))


def touched_in_order(ends: Mapping[str, Node], touched: set[str]) -> list[str]:
    return [id_ for id_ in ends if id_ in touched]


def _alarms(diagram: Diagram, ends: Mapping[str, Node]) -> dict[str, str]:
    """Each alarm's watched resource. What watches nothing here is a box of its own."""
    return {
        e.head: e.tail
        for e in reversed(diagram.edges)
        if e.head in ends and e.tail in ends and ends[e.head].type == ALARM
    }


def _columns(ids: Sequence[str], edges: Sequence[Edge]) -> dict[str, tuple[int, int]]:
    """A column and a row for each: right of whatever points to it, beside what it is connected with."""
    heads: dict[str, list[str]] = defaultdict(list)
    tails: dict[str, list[str]] = defaultdict(list)
    for edge in _without_circles(ids, edges):
        heads[edge.tail].append(edge.head)
        tails[edge.head].append(edge.tail)
    column = dict.fromkeys(ids, 0)
    for _ in ids:
        for id_ in ids:
            for head in heads[id_]:
                column[head] = max(column[head], column[id_] + 1)
    for id_ in ids:  # what nothing points to stands beside what it points to, so that no arrow crosses a box
        if heads[id_] and not tails[id_]:
            column[id_] = min(column[head] for head in heads[id_]) - 1
    places: dict[str, tuple[int, int]] = {}
    for number in sorted(set(column.values())):
        own = [id_ for id_ in ids if column[id_] == number]
        own.sort(key=lambda id_: min((places[tail][1] for tail in tails[id_]), default=0))
        own.sort(key=lambda id_: not heads[id_])  # the way on stays straight, what ends stands below
        places |= {id_: (number, row) for row, id_ in enumerate(own)}
    return places


def _without_circles(ids: Sequence[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges but for those that lead back."""
    heads: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        heads[edge.tail].append(edge)
    kept: list[Edge] = []
    done: set[str] = set()

    def visit(id_: str, way: tuple[str, ...]) -> None:
        done.add(id_)
        for edge in heads[id_]:
            if edge.head in (*way, id_):
                continue
            kept.append(edge)
            if edge.head not in done:
                visit(edge.head, (*way, id_))

    pointed = {edge.head for edge in edges}
    for id_ in sorted(ids, key=lambda id_: id_ in pointed):
        if id_ not in done:
            visit(id_, ())
    return kept


def _picture(
    diagram: Diagram,
    ends: Mapping[str, Node],
    alarms: Mapping[str, str],
    places: Mapping[str, tuple[int, int]],
    edges: Sequence[Edge],
    left_out: int,
) -> Picture:
    boxes: dict[str, Box] = {}
    chips: list[Box] = []
    for id_, (column, row) in places.items():
        x = MARGIN + column * (WIDTH + GAP_X)
        y = MARGIN + row * (HEIGHT + CHIP + GAP_Y)
        if id_ == "alarms":
            nodes = tuple(ends[alarm] for alarm in alarms)
            boxes[id_] = Box(x, y, HEIGHT, _count(nodes), "all of the picture", nodes)
            continue
        node = ends[id_]
        boxes[id_] = Box(x, y, HEIGHT, short(node.label, TITLE), short(kind(node.type), KIND), (node,))
        own = tuple(ends[alarm] for alarm, watched in alarms.items() if watched == id_)
        if own:
            chips.append(Box(x, y + HEIGHT, CHIP, _count(own), "", own))
    notified = {
        e.head: e for e in diagram.edges if e.tail in alarms and e.head in boxes and e.head not in alarms
    }
    tells = [Edge("alarms", head, "tell") for head in notified] if "alarms" in boxes else []
    arrows = tuple(_arrow(boxes[e.tail], boxes[e.head], e) for e in (*edges, *tells))
    everything = (*boxes.values(), *chips)
    width = max((box.x + WIDTH for box in everything), default=0) + MARGIN
    height = max((box.y + box.height for box in everything), default=0) + MARGIN
    top = min((arrow.y - LABEL for arrow in arrows), default=0)
    return Picture(width, height, everything, arrows, max(left_out, 0), min(top, 0))


def _count(alarms: Sequence[Node]) -> str:
    return f"{len(alarms)} alarm{'s' * (len(alarms) != 1)}"


def short(text: str, letters: int) -> str:
    """As much of a text as fits. Letters of the far East take twice the room."""
    room = letters
    for index, letter in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if room < (index < len(text) - 1):
            return f"{text[:index]}…"
    return text


def _arrow(tail: Box, head: Box, edge: Edge) -> Arrow:
    """From the right side to the left one, or back above both where it leads back."""
    x, y = tail.x + WIDTH, tail.y + HEIGHT // 2
    end_x, end_y = head.x - 4, head.y + HEIGHT // 2
    if end_x <= x:
        top = min(tail.y, head.y) - GAP_Y // 2
        middle = (tail.x + head.x + WIDTH) // 2
        return Arrow(
            f"M{tail.x + WIDTH // 2} {tail.y} C{tail.x + WIDTH // 2} {top} {head.x + WIDTH // 2} {top}"
            f" {head.x + WIDTH // 2} {head.y - 4}",
            *(middle, top, edge.label, edge),
        )
    start = end_x - GAP_X + 4
    straight = f"M{x} {y} H{start}" if start > x else f"M{x} {y}"
    curve = f"C{start + GAP_X // 2} {y} {start + GAP_X // 2} {end_y} {end_x} {end_y}"
    middle = (start + end_x) // 2
    return Arrow(f"{straight} {curve}", middle, (y + end_y) // 2, edge.label, edge)
