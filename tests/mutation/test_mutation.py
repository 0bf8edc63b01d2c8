"""The mutation engine: a sample of all mutants, the aimed ones of other stacks, and what it would miss."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT
from witness import AS_OF, ENVIRONMENTS, RULES

from compliance.document.requirements import OWN, load
from compliance.facts.attributes import names_in_template
from compliance.handlers.static_analysis import files
from compliance.model import InputError
from compliance.mutation import GONE, Mutant, Source, edited, inputs, run, survivors
from compliance.mutation.__main__ import main
from compliance.mutation.code import javascript, python
from compliance.mutation.code import load as load_aims
from compliance.mutation.equivalents import reversed_lists, split
from compliance.mutation.ground import Ground, Judged
from compliance.mutation.reads import ALL as WHOLE
from compliance.mutation.reads import Read, watched
from compliance.mutation.rewriting import in_functions, rewritten
from compliance.template.assembly import Assembly, Stack
from compliance.template.loading import load_assembly
from tools.mutants import AIMS, ALL, SURVIVORS
from tools.mutants.neighbours import NEIGHBOURS

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures"
ONE_IN = 40

all_mutants = cache(partial(run.all_mutants, aims=load_aims(AIMS)))  # of a ground, once


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ground]:
    """This repository's app, with its handlers in either language."""

    # isort: split
    import app

    made = {}
    for language in ("nodejs", "python"):
        assemblies = {}
        for environment in ENVIRONMENTS:
            outdir = tmp_path_factory.mktemp(environment)
            context = {"env": environment, "handlers": language}
            app.build(context, outdir=str(outdir), validate=False).synth()
            assemblies[environment] = load_assembly(outdir)
        own = assemblies.pop(ENVIRONMENTS[0])
        own.kind = "app"
        made[language] = Ground(load(), RULES, own, ENVIRONMENTS[0], assemblies, AS_OF)
    return made


@pytest.fixture(scope="module")
def sampled(grounds: dict[str, Ground]) -> Callable[[str], run.Results]:
    """What became of a sample of all mutants of a language."""

    @cache
    def judged(language: str) -> run.Results:
        ground = grounds[language]
        mutants = run.sample(all_mutants(ground, templates=language == "nodejs"), ONE_IN)
        return run.judge(ground, mutants, processes=1)

    return judged


@pytest.mark.parametrize("language", ["nodejs", "python"])
def test_a_sample_of_all_mutants(
    language: str, grounds: dict[str, Ground], sampled: Callable[[str], run.Results]
) -> None:
    """`make mutants` judges more, and all with `--all`."""
    ground, results = grounds[language], sampled(language)
    assert [mutant.name for mutant, _ in results.missed] == []
    _, holes = survivors.sort(results.alive, survivors.load(SURVIVORS), ground.subjects)
    assert [mutant.name for mutant in holes] == []


@pytest.mark.parametrize("language", ["nodejs", "python"])
def test_a_handler_that_is_as_it_was_breaks_nothing(language: str, grounds: dict[str, Ground]) -> None:
    """Else every mutant of it would seem to be seen."""
    ground = grounds[language]
    for role, ran in ground.functions.items():
        file, text = next(iter(files(ran.target.program)))
        same = Mutant("leave it", language, "", role, source=Source(role, file, text))
        assert ground.judge(same, every_rule=True) == Judged()


def test_every_class_of_survivors_explains_some(
    grounds: dict[str, Ground], sampled: Callable[[str], run.Results]
) -> None:
    """Of a class about templates a mutant survives; of one about handlers, one is made."""
    classes = survivors.load(SURVIVORS)
    found: dict[survivors.Class, bool] = {}
    for language, ground in grounds.items():
        of_sample, _ = survivors.sort(sampled(language).alive, classes, ground.subjects)
        found.update((each, True) for each, mutants in of_sample.items() if mutants)
        generic = [m for m in all_mutants(ground, templates=language == "nodejs") if not m.breaks]
        by_class, _ = survivors.sort(generic, classes, ground.subjects)
        for each, mutants in by_class.items():
            found[each] = found.get(each, False) or any(
                mutant.source or not ground.judge(mutant).killed for mutant in mutants
            )
    assert [each.because for each, used in found.items() if not used] == []


def test_names_tell_mutants_apart_and_stay(grounds: dict[str, Ground]) -> None:
    ground = grounds["nodejs"]
    mutants = [m for m in all_mutants(ground) if not m.source]
    names = [mutant.name for mutant in mutants if not mutant.breaks]
    assert len(set(names)) == len(names) > 3_000
    assert run.sample(mutants, 50) == run.sample(list(mutants), 50)


def test_every_requirement_is_aimed_at(grounds: dict[str, Ground]) -> None:
    """All but the region and the stack's own protection, which no template states."""
    aimed_at = [mutant.breaks for mutant in all_mutants(grounds["nodejs"])]
    assert {rule.requirement.id for rule in RULES} - set(aimed_at) == {"ARC-09", "HRD-25"}
    several = [id_ for id_ in dict.fromkeys(aimed_at) if id_ and aimed_at.count(id_) > 1]
    assert len(several) >= 59


# What looks right and is not: how the mutants' names read, by kind. Neighbours have the same kinds.
KINDS = {
    "another attribute": r"\bby (arn|url|name|Ref|Arn|QueueUrl)\b",
    "conditions and denials": r"HRD-14: .*( from | through | in another | until | with|denied|boundary)",
    "keys": r"HRD-(06|14|19): .*\bkey\b",
    "filters": r": a filter for",
    "alarms": r"HRD-05: (in |more datapoints|how often|always|no whole|no periods|by a ratio)",
    "emptying": r"HRD-11: objects|HRD-15: .* keeps messages",
    "exposure": r"HRD-18: ",
    "off or elsewhere": r"HRD-19: ",
    "names": r"NAM-07: .* of another name",
}


@pytest.mark.parametrize("kind", KINDS)
def test_ten_of_each_kind_that_looks_right_are_seen(kind: str, grounds: dict[str, Ground]) -> None:
    """By the requirement that they are aimed at; in `make mutants` all are judged."""
    ground = grounds["nodejs"]
    of_kind = [m for m in all_mutants(ground) if m.breaks and re.search(KINDS[kind], m.name)]
    several = of_kind[:: max(1, len(of_kind) // 10)]
    assert len(of_kind) >= len(several) >= 10
    assert [m.name for m, _ in run.judge(ground, several, processes=1).missed] == []


def test_ten_neighbours_of_each_kind_are_at_hand(grounds: dict[str, Ground]) -> None:
    """`make mutants` judges all. Those of other attributes are the references in other words."""
    made = [name for name, _ in run.equivalents(grounds["nodejs"], ALL)]
    assert NEIGHBOURS.keys() == KINDS.keys() - {"another attribute"}
    for kind, neighbours in NEIGHBOURS.items():
        assert len({what for what, _, _ in neighbours} & set(made)) >= 10, kind


def test_what_a_rule_does_not_read_it_need_not_be_asked(grounds: dict[str, Ground]) -> None:
    """Asking every rule finds no mutant dead that asking a few found alive."""
    ground = grounds["nodejs"]
    templates = [m for m in all_mutants(ground) if not m.source and not m.breaks]
    alive = [m for m in run.sample(templates, 60) if not ground.judge(m).killed]
    everything = Ground(
        ground.document, ground.rules, ground.assembly, "dev", ground.others, AS_OF, handlers=False
    )
    everything.reads = dict.fromkeys(ground.statuses)  # None: it may have read anything
    assert len(alive) > 5
    assert [m.name for m in alive if everything.judge(m).killed] == []


def test_what_is_read_unresolved_or_by_way_of_another_resource_counts() -> None:
    assembly = Assembly("template", FIXTURES)
    resources = {
        "Name": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "orders"}},
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": {"Fn::GetAtt": ["Name", "Value"]}, "DelaySeconds": 3},
        },
    }
    assembly.add(Stack(assembly, "S", FIXTURES, {"Resources": resources}, region="us-east-1"))
    reads: set[Read] = set()
    queue = watched(assembly, reads).stacks[0].resources["Queue"]
    assert reads == set()
    assert "QueueName" in queue.raw_properties
    assert reads == {("S", "Queue", "QueueName")}
    assert queue.get("QueueName") == "orders"
    assert reads == {("S", "Queue", "QueueName"), ("S", "Name", "Value")}
    assert list(names_in_template(queue.raw)) == ["Name"]
    assert ("S", "Queue", WHOLE) in reads


def test_a_rule_that_is_missing_leaves_a_hole(grounds: dict[str, Ground]) -> None:
    ground = grounds["nodejs"]
    rules = tuple(rule for rule in RULES if rule.requirement.id not in ("NAM-05", "SEC-06"))
    blind = Ground(ground.document, rules, ground.assembly, "dev", ground.others, AS_OF, handlers=False)
    table = ground.pipeline.one("audit_table").logical_id
    mutants = [m for m in all_mutants(blind) if m.name == f"change {table}.TableName"]
    results = run.judge(blind, mutants, processes=1)
    _, holes = survivors.sort(results.alive, survivors.load(SURVIVORS), blind.subjects)
    assert holes == mutants != []


def ground_of(name: str) -> Ground:
    own: dict[str, Any] = {
        "typescript": {"assembly": FIXTURES / "typescript" / "assembly"},
        "handwritten": {"template": FIXTURES / "handwritten" / "template.yaml"},
        "http_api": {"template": ROOT / "examples/http_api/template.yaml"},
    }[name]
    requirements = ROOT / "examples/http_api/requirements.yaml" if name == "http_api" else OWN
    with ExitStack() as stack:
        return inputs.read(requirements, as_of=AS_OF, handlers=False, stack=stack, **own)


@pytest.mark.parametrize("name", ["typescript", "handwritten", "http_api"])
def test_every_aimed_mutant_of_other_stacks_is_seen(name: str) -> None:
    """By the requirement that it is aimed at, in others' stacks and by another document, too."""
    ground = ground_of(name)
    aimed = [mutant for mutant in all_mutants(ground) if mutant.breaks]
    results = run.judge(ground, run.sample(aimed, 1 if name == "http_api" else 6), processes=1)
    assert len(aimed) > 50
    assert [mutant.name for mutant, _ in results.missed] == []


def test_least_privilege_of_another_document_is_aimed_at() -> None:
    """Also where none of the order pipeline's subjects is there."""
    example = ROOT / "examples/s3_uploads"
    with ExitStack() as stack:
        document, template = example / "requirements.yaml", example / "template.yaml"
        ground = inputs.read(document, as_of=AS_OF, template=template, stack=stack)
        aimed = [m for m in all_mutants(ground) if m.breaks and not m.source]
        results = run.judge(ground, aimed, processes=1)
    assert sum("allowed" in mutant.name for mutant in aimed) >= 6
    assert [mutant.name for mutant, _ in results.missed] == []


# Its words


def test_an_edit_shares_what_it_leaves_alone() -> None:
    template = {"Resources": {"A": {"Type": "T", "Properties": {"x": [1, 2]}}, "B": {"Type": "T"}}}
    before = json.dumps(template)
    changed = edited(template, ("Resources", "A", "Properties", "x", 0), GONE)
    assert changed["Resources"]["A"]["Properties"] == {"x": [2]}
    assert changed["Resources"]["B"] is template["Resources"]["B"]
    assert json.dumps(template) == before


def test_a_resource_goes_with_what_only_names_it() -> None:
    template = {
        "Resources": {
            "A": {"Type": "T"},
            "B": {"Type": "T", "DependsOn": ["A"], "Properties": {"p": {"Ref": "A"}, "q": {"Ref": "AB"}}},
        },
        "Outputs": {"O": {"Value": {"Fn::Sub": "x-${A.Arn}"}}, "P": {"Value": {"Fn::Sub": "${AB}"}}},
    }
    changed = edited(template, ("Resources", "A"), GONE)
    assert changed == {
        "Resources": {"B": {"Type": "T", "DependsOn": [], "Properties": {"q": {"Ref": "AB"}}}},
        "Outputs": {"P": {"Value": {"Fn::Sub": "${AB}"}}},
    }


def operators(changes: Iterator[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for change in changes:
        found.setdefault(change.operator, set()).add(change.text)
    return found


def test_javascript_is_changed_on_its_syntax_tree() -> None:
    source = "exports.handler = async (event) => { await put({ Id: event.id }); };"
    found = operators(javascript.changes(source, "handler"))
    assert any("await" not in text for text in found["drop await"])
    assert any("put({  })" in text for text in found["drop field"])
    assert any("IdRenamed: event.id" in text for text in found["rename field"])
    assert any("console.log(JSON.stringify([event]))" in text for text in found["log the arguments"])
    assert any("catch{}" in text for text in found["swallow errors"])
    assert len(found) >= 10


def test_python_is_changed_on_its_syntax_tree() -> None:
    source = "def handler(event, context):\n    if event:\n        put(Item={'id': event['id']})\n"
    found = operators(python.changes(source, "handler"))
    assert any("if not event" in text for text in found["negate condition"])
    assert any("'idRenamed': event['id']" in text for text in found["rename field"])
    assert any("print(event, context)" in text for text in found["log the arguments"])
    assert any("except Exception" in text for text in found["swallow errors"])
    assert len(found) >= 10


# On the command line

TEMPLATE = {
    "Resources": {
        "F": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Timeout": 60, "MemorySize": 256, "Description": "does things"},
        }
    }
}
BECAUSE = """\
survivors:
  - {place: Description, because: words for people}
  - {operator: condition left open, because: 'where the function is, it meets them'}
  - place: Timeout|MemorySize
    operator: another default|increase|decrease|multiply|nothing|extreme
    because: within bounds
"""


def command(folder: Path, *more: str, survivors_: str | None = None) -> Result:
    (folder / "requirements.yaml").write_text(DOCUMENT)
    (folder / "stack.json").write_text(json.dumps(TEMPLATE))
    if survivors_ is not None:
        (folder / "survivors.yaml").write_text(survivors_)
    own = ["--requirements", f"{folder}/requirements.yaml", "--template", f"{folder}/stack.json"]
    return CliRunner().invoke(main, [*own, "--processes", "1", *(more or ["--all"])])


def test_a_survivor_that_nobody_explains_is_red(tmp_path: Path) -> None:
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "survives, and no class says why: drop F.Description" in result.output


def test_survivors_explained_by_class_are_green(tmp_path: Path) -> None:
    result = command(tmp_path, survivors_=BECAUSE)
    assert result.exit_code == 0, result.output
    assert "GREEN" in result.output


def test_a_class_that_explains_nothing_is_red(tmp_path: Path) -> None:
    stale = BECAUSE + "  - {type: 'AWS::Lambda::Function', place: Tags, because: it was so once}\n"
    result = command(tmp_path, survivors_=stale)
    assert result.exit_code == 1
    assert "explains nothing: the class 'it was so once'" in result.output


def test_a_sample_is_of_the_generic_mutants_alone(tmp_path: Path) -> None:
    some, every = (
        {json.loads(line)["name"] for line in command(tmp_path, *more, "--json").stdout.splitlines()}
        for more in (["--one-in", "1000000"], ["--all"])
    )
    assert some < every
    assert {name for name in every - some if name.startswith("FUN-01: ")} == set()
    assert any(name.startswith("FUN-01: ") for name in some)


def test_only_shows_what_sees_a_mutant(tmp_path: Path) -> None:
    result = command(tmp_path, "--only", "drop F.Timeout")
    assert result.output.splitlines()[-1] == "drop F.Timeout: FUN-01"


@pytest.mark.parametrize(
    "text", ["survivors: [{place: x}]", "survivors: [{because: why, place: '('}]", "x: 1"]
)
def test_a_malformed_file_of_classes_is_bad_input(text: str, tmp_path: Path) -> None:
    file = tmp_path / "survivors.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match="survivors"):
        survivors.load(file)


def test_an_input_that_meets_nothing_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}))
    with ExitStack() as stack:
        ground = inputs.read(OWN, template=tmp_path / "s.json", as_of=date(2026, 6, 1), stack=stack)
        with pytest.raises(InputError, match="meets no requirement"):
            inputs.check_green(ground)


def test_an_equivalent_keeps_what_has_an_order() -> None:
    assert reversed_lists(["a", "b"]) == ["b", "a"]
    assert reversed_lists([">=", 7]) == [">=", 7]


def test_a_rewrite_reaches_the_variables_of_a_text() -> None:
    node = {"Fn::Sub": ["${Name}-x", {"Name": {"Ref": "Table"}}]}
    found = rewritten(node, in_functions(lambda n: {"Ref": "Other"} if n == {"Ref": "Table"} else n))
    assert found == {"Fn::Sub": ["${Name}-x", {"Name": {"Ref": "Other"}}]}


@pytest.mark.parametrize("text", ["a", "a|b", "|", "|~", "|~^", ""])
def test_a_text_that_is_split_stays_the_same(text: str) -> None:
    match split(text):
        case {"Fn::Select": [str(index), {"Fn::Split": [str(mark), str(whole)]}]}:
            assert whole.split(mark)[int(index)] == text
        case unchanged:
            assert unchanged == text
