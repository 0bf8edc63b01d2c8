"""One finding, one story: the mapping of scanners' rules is proven on broken templates, not believed."""

import ast
import copy
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import replace

import app
from compliance import scanners
from compliance.cli import main
from compliance.document import waivers
from compliance.document.requirements import load
from compliance.document.waivers import Waiver
from compliance.facts.declared import find
from compliance.handlers.runs import Handlers
from compliance.model import (
    SCANNERS,
    Evidence,
    Finding,
    FindingStatus,
    Pack,
    Result,
    Severity,
    Status,
    Verdict,
    rows,
)
from compliance.rules import bind
from compliance.rules.judging import judge, names
from compliance.scanners import PACKS, Scanners, facts, finding_status
from compliance.scanners.nag import jsii_bundles, unpacked
from compliance.template.cache import cache_folder
from compliance.template.loading import load_assembly
from compliance.template.synth import App, synthesise

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 25)
DOCUMENT = load()
RULES = bind(DOCUMENT)
OPTIONAL = get_args(Pack)

Template = dict[str, Any]
Change = Callable[[Template, dict[str, Any]], None]
UNBROKEN = -1


# What a rule complains of, our requirement fails on: each on our own template, with one thing broken


@dataclass(frozen=True)
class Broken:
    """One thing broken: where (a construct path below the stack), how, and who says so there."""

    requirement: str
    where: str
    change: Change
    rules: tuple[str, ...]
    as_of: date = TODAY


def every(suffix: str, packs: str = "NHP") -> tuple[str, ...]:
    full = {"N": "NIST.800.53.R5", "H": "HIPAA.Security", "P": "PCI.DSS.321"}
    return tuple(f"{full[pack]}-{suffix}" for pack in packs)


def without(*properties: str) -> Change:
    def change(_: Template, resource: dict[str, Any]) -> None:
        for name in properties:
            del resource["Properties"][name]

    return change


def with_(**properties: Any) -> Change:
    return lambda _, resource: resource["Properties"].update(properties)


def allowing(action: str) -> Change:
    def change(_: Template, role: dict[str, Any]) -> None:
        # first, and in this order: checkov looks into one statement, cdk-nag's packs match JSON as text
        statement = {"Action": action, "Effect": "Allow", "Resource": "*"}
        role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].insert(0, statement)

    return change


def trusting(principal: Any) -> Change:
    def change(_: Template, role: dict[str, Any]) -> None:
        statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"AWS": principal}}
        role["Properties"]["AssumeRolePolicyDocument"]["Statement"].insert(0, statement)

    return change


def without_policy(kind: str) -> Change:
    """No policy of this kind denies anything now. The topic's key goes too: cdk-nag takes it for TLS."""

    def change(template: Template, resource: dict[str, Any]) -> None:
        for policy in template["Resources"].values():
            if policy["Type"] == kind:
                document = policy["Properties"]["PolicyDocument"]
                document["Statement"] = [s for s in document["Statement"] if s["Effect"] != "Deny"]
        if kind == "AWS::SNS::TopicPolicy":
            del resource["Properties"]["KmsMasterKeyId"]

    return change


BUCKET, DLQ, ORDERS = "Storage/ProcessedData", "Storage/ProcessingDlq", "Storage/OrdersTable"
PROCESSOR, AUDIT = "Processing/Processor/Function", "Auditing/Audit/Function"
ROLE, AUDIT_ROLE = "Processing/Processor/Role", "Auditing/Audit/Role"
STREAM = f"{PROCESSOR}/DynamoDBEventSource:OrderPipelineStorageOrdersTableCEE3317C"
STREAM_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/dev-orders-table-backend/stream/2026"
BASIC = "iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
OPEN = {"BlockPublicAcls": False, "BlockPublicPolicy": False, "IgnorePublicAcls": False}
PUBLIC = {"PublicAccessBlockConfiguration": OPEN | {"RestrictPublicBuckets": False}}
PROVISIONED = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
NEWEST = ("AwsSolutions-L1", "Serverless-LambdaLatestVersion")

BROKEN = (
    # cfn-lint knows the source only by a literal ARN
    Broken(
        "ARC-04",
        STREAM,
        lambda t, r: (without("StartingPosition")(t, r), with_(EventSourceArn=STREAM_ARN)(t, r))[0],
        ("E3633",),
    ),
    Broken(
        "SRV-01",
        ORDERS,
        with_(BillingMode="PROVISIONED", ProvisionedThroughput=PROVISIONED),
        every("DynamoDBAutoScalingEnabled", "NH"),
    ),
    Broken("SRV-02", PROCESSOR, with_(Runtime="nodejs20.x"), ("W2531", *NEWEST)),
    Broken("SRV-02", PROCESSOR, with_(Runtime="nodejs16.x"), ("W2531", "CKV_AWS_363", *NEWEST)),
    Broken("SRV-02", AUDIT, with_(Runtime="nodejs12.x"), ("E2533", "CKV_AWS_363", *NEWEST)),
    Broken("SRV-02", AUDIT, with_(Runtime="nodejs20.x"), ("E2531", *NEWEST), date(2027, 2, 10)),
    Broken("SRV-03", PROCESSOR, without("Timeout"), ("Serverless-LambdaDefaultTimeout",)),
    Broken("SRV-04", AUDIT, without("Timeout"), ("Serverless-LambdaDefaultTimeout",)),
    Broken(
        "SRV-07",
        BUCKET,
        without("VersioningConfiguration"),
        ("CKV_AWS_21", *every("S3BucketVersioningEnabled")),
    ),
    Broken(
        "ERR-02",
        STREAM,
        without("DestinationConfig"),
        ("Serverless-LambdaEventSourceMappingDestination",),
    ),
    Broken("ERR-03", DLQ, with_(VisibilityTimeout=1), ("E3505",)),
    Broken("HRD-01", DLQ, with_(VisibilityTimeout=1), ("E3505",)),
    Broken(
        "SEC-01",
        BUCKET,
        with_(**PUBLIC),
        (
            *("AwsSolutions-S2", "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56"),
            *every("S3BucketLevelPublicAccessProhibited"),
            *every("S3BucketPublicReadProhibited"),
            *every("S3BucketPublicWriteProhibited"),
        ),
    ),
    Broken("SEC-02", BUCKET, without("BucketEncryption"), every("S3DefaultEncryptionKMS")),
    Broken("SEC-03", ROLE, trusting("*"), ("CKV_AWS_60",)),
    Broken("SEC-03", ROLE, trusting(["arn:aws:iam::123456789012:root"]), ("CKV_AWS_61",)),
    *(
        Broken(
            requirement,
            role,
            allowing("*"),
            (
                *("AwsSolutions-IAM5[Action::*]", "AwsSolutions-IAM5[Resource::*]"),
                *("CKV_AWS_62", "CKV_AWS_63", "CKV_AWS_107", "CKV_AWS_108", "CKV_AWS_109", "CKV_AWS_110"),
                *("CKV_AWS_111", "Serverless-LambdaStarPermissions"),
                *every("IAMPolicyNoStatementsWithAdminAccess"),
                *every("IAMPolicyNoStatementsWithFullAccess"),
            ),
        )
        for requirement, role in (("SEC-04", ROLE), ("SEC-05", AUDIT_ROLE))
    ),
    Broken("SEC-04", ROLE, allowing("s3:PutObjekt"), ("W3037",)),
    Broken("SEC-05", AUDIT_ROLE, allowing("s3:PutObjekt"), ("W3037",)),
    Broken(
        "SEC-04",
        ROLE,
        with_(ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
        ("AwsSolutions-IAM4[Policy::arn:aws:iam::aws:policy/AmazonS3FullAccess]",),
    ),
    Broken(
        "SEC-05",
        AUDIT_ROLE,
        with_(ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonSQSFullAccess"]),
        ("AwsSolutions-IAM4[Policy::arn:aws:iam::aws:policy/AmazonSQSFullAccess]",),
    ),
    Broken(
        "HRD-06",
        "Alarms/Topic",
        without("KmsMasterKeyId"),
        ("CKV_AWS_26", *every("SNSEncryptedKMS")),
    ),
    Broken(
        "HRD-06",
        "Alarms/AuditErrors",
        without("AlarmActions", "OKActions"),
        every("CloudWatchAlarmAction", "NH"),
    ),
    Broken(
        "HRD-07",
        BUCKET,
        without_policy("AWS::S3::BucketPolicy"),
        ("AwsSolutions-S10", *every("S3BucketSSLRequestsOnly")),
    ),
    Broken("HRD-07", DLQ, without_policy("AWS::SQS::QueuePolicy"), ("AwsSolutions-SQS4",)),
    Broken("HRD-07", "Alarms/Topic", without_policy("AWS::SNS::TopicPolicy"), ("AwsSolutions-SNS3",)),
    Broken(
        "HRD-08",
        DLQ,
        lambda t, r: (without("KmsMasterKeyId")(t, r), with_(SqsManagedSseEnabled=False)(t, r))[0],
        ("AwsSolutions-SQS2", "CKV_AWS_27"),
    ),
    Broken(
        "HRD-09",
        ORDERS,
        without("PointInTimeRecoverySpecification"),
        ("AwsSolutions-DDB3", "CKV_AWS_28", *every("DynamoDBPITREnabled", "NH")),
    ),
    Broken(
        "HRD-10",
        "Processing/Processor/Logs",
        without("RetentionInDays"),
        (
            *("Serverless-CloudWatchLogGroupRetentionPeriod", "CKV_AWS_66"),
            *every("CloudWatchLogGroupRetentionPeriod"),
        ),
    ),
    Broken(
        "HRD-10",
        ROLE,
        with_(ManagedPolicyArns=[f"arn:aws:{BASIC}"]),
        (f"AwsSolutions-IAM4[Policy::arn:aws:{BASIC}]",),
    ),
    Broken(
        "HRD-10",
        ROLE,
        with_(ManagedPolicyArns=[{"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":{BASIC}"]]}]),
        (f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:{BASIC}]",),
    ),
    Broken(
        "HRD-15",
        DLQ,
        without("RedrivePolicy"),
        ("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"),
    ),
    Broken("HRD-16", PROCESSOR, without("TracingConfig"), ("Serverless-LambdaTracing",)),
)


class Laboratory:
    """Our template with each thing broken. The scanners see what is broken in different places at once."""

    def __init__(self, folder: Path) -> None:
        app.build({}, outdir=str(folder), validate=False).synth()
        self._folder, self._file = folder, folder / "OrderPipeline.template.json"
        self.template = json.loads(self._file.read_text())
        self.found = self._scanned()

    def logical_id(self, where: str) -> str:
        path = f"OrderPipeline/{where}"
        return next(
            logical_id
            for logical_id, resource in self.template["Resources"].items()
            if resource["Metadata"].get("aws:cdk:path") in (f"{path}/Resource", path)
        )

    def results(self, number: int) -> tuple[Result, ...]:
        self._file.write_text(json.dumps(self._changed([number])))
        not_run = Handlers.none("not here", excused=True)
        return judge(
            RULES,
            DOCUMENT,
            find(DOCUMENT, load_assembly(self._folder), names(RULES, "dev")),
            as_of=BROKEN[number].as_of,
            environment="dev",
            others="not here",
            observations=not_run,
        )

    def _changed(self, numbers: Sequence[int]) -> Template:
        changed = copy.deepcopy(self.template)
        for broken in (BROKEN[number] for number in numbers):
            broken.change(changed, changed["Resources"][self.logical_id(broken.where)])
        return changed

    def _scanned(self) -> dict[int, list[Finding]]:
        """What is found of each. On another day cfn-lint alone says something else."""
        groups: list[list[int]] = [[]]  # the first stays as it is
        for number, broken in enumerate(BROKEN):
            free = (g for g in groups[1:] if broken.where not in {BROKEN[n].where for n in g})
            group = next(free, None)
            if group is None:
                groups.append(group := [])
            group.append(number)
        findings = scanned({str(name): self._changed(group) for name, group in enumerate(groups)}, TODAY)
        found = {
            number: [finding for finding in findings if finding.stack == str(name)]
            for name, group in enumerate(groups)
            for number in group or [UNBROKEN]
        }
        for number, broken in enumerate(BROKEN):
            if broken.as_of != TODAY:
                then = scanned({"then": self._changed([number])}, broken.as_of, ["cfn-lint"])
                found[number] = [f for f in found[number] if f.scanner != "cfn-lint"] + then
        return found


def scanned(templates: dict[str, Template], day: date, names: Sequence[str] = SCANNERS) -> list[Finding]:
    with Scanners(names, packs=(*PACKS, *OPTIONAL), cache=cache_folder()) as running:
        running.scan([scanners.Template(*template) for template in templates.items()], day)
        return [finding for run in running.runs() for finding in run.findings]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    return Laboratory(tmp_path_factory.mktemp("broken") / "cdk.out")


@pytest.mark.parametrize("number", range(len(BROKEN)), ids=lambda n: f"{BROKEN[n].requirement}-{n}")
def test_the_rules_that_confirm_a_requirement_complain_where_it_fails(
    laboratory: Laboratory, number: int
) -> None:
    broken = BROKEN[number]
    where = laboratory.logical_id(broken.where)
    here = [finding for finding in laboratory.found[number] if finding.logical_id == where]
    assert {finding.rule for finding in here} >= set(broken.rules)

    results = laboratory.results(number)
    settled, problems, _ = settle(*here, results=results, as_of=broken.as_of)
    covered = {f.rule: f.requirement for f in settled if f.status is FindingStatus.COVERED}
    assert covered.keys() >= set(broken.rules)
    assert not problems
    failed = {result.id for result in results if result.verdict.status is Status.FAIL}
    assert broken.requirement in failed
    assert set(covered.values()) <= failed


def test_our_unbroken_stack_contradicts_no_verdict(laboratory: Laboratory) -> None:
    confirming = {rule for requirement in DOCUMENT.requirements for rule in requirement.confirmed_by}
    found = {(f.rule, f.logical_id) for f in laboratory.found[UNBROKEN]}
    complained = {(rule, where) for rule, where in found if rule in confirming}
    # of a mapping that ERR-02 is not about
    assert {rule for rule, _ in complained} <= {"Serverless-LambdaEventSourceMappingDestination"}
    assert all("SqsEventSource" in str(where) for _, where in complained)


def test_every_mapping_is_proven() -> None:
    proven = {(broken.requirement, rule) for broken in BROKEN for rule in broken.rules}
    stated = {
        (requirement.id, rule)
        for requirement in DOCUMENT.requirements
        for rule in finding_status.scanners_rules(requirement)
    }
    assert stated <= proven
    bases = {(requirement, facts.names_of(rule)[-1]) for requirement, rule in proven}
    for entry in facts.load().stricter:
        assert {(requirement, rule) for requirement in entry.than for rule in entry.rules} <= bases
        assert len(entry.because.split()) >= 5


# The tables name what exists


@cache
def nag_rules() -> dict[str, set[str]]:
    """cdk-nag's rules by the function that judges: rules of several packs share one."""
    folder = unpacked(dict(jsii_bundles())) / "node_modules" / "cdk-nag" / "lib" / "packs"
    files = {"aws-solutions": "AwsSolutions", "serverless": "Serverless", "hipaa-security": "HIPAA.Security"}
    files |= {"nist-800-53-r5": "NIST.800.53.R5", "pci-dss-321": "PCI.DSS.321"}
    rules: dict[str, set[str]] = defaultdict(set)
    for file, pack in files.items():
        for call in re.findall(r"applyRule\(\{(.*?)\}\)", (folder / f"{file}.js").read_text(), re.DOTALL):
            function = re.search(r"rule: \w+\.(\w+)", call)
            assert function
            suffix = re.search(r"ruleSuffixOverride: '(\w+)'", call)
            rules[function[1]].add(f"{pack}-{suffix[1] if suffix else function[1]}")
    return rules


@cache
def known_rules() -> frozenset[str]:
    code = """if True:
        import json, logging
        logging.disable(logging.CRITICAL)
        from cfnlint.core import get_rules
        from checkov.cloudformation.runner import Runner
        from checkov.cloudformation.checks.resource.registry import cfn_registry
        checks = {check.id for some in cfn_registry.checks.values() for check in some}
        print(json.dumps([*get_rules([], [], []).rules, *checks]))
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return frozenset(json.loads(said.splitlines()[-1])).union(*nag_rules().values())


def mapped_rules() -> Iterator[str]:
    for requirement in DOCUMENT.requirements:
        yield from finding_status.scanners_rules(requirement)
    for rules in facts.load().rules.values():
        yield from rules
    for entry in facts.load().stricter:
        yield from entry.rules


def test_every_rule_named_exists() -> None:
    assert not {rule for rule in mapped_rules() if facts.names_of(rule)[-1] not in known_rules()}


def test_every_test_named_exists() -> None:
    named = {
        rule
        for requirement in DOCUMENT.requirements
        for rule in requirement.confirmed_by
        if rule.startswith(finding_status.TESTS)
    }
    assert named
    from test_template import ASSERTIONS

    for name in named:
        file, _, test = name.partition("::")
        function, _, parameter = test.partition("[")
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
        assert not parameter or parameter.rstrip("]") in ASSERTIONS, name


def test_every_requirement_that_a_scanner_is_stricter_than_exists() -> None:
    than = {requirement for entry in facts.load().stricter for requirement in entry.than}
    assert than <= DOCUMENT.by_id.keys()


def test_rules_of_one_function_state_one_fact() -> None:
    known = facts.load()
    for rules in nag_rules().values():
        stated = {known.of(rule) for rule in rules}
        mapped = rules & set(mapped_rules())
        assert len(stated) == 1 or not mapped, (rules, stated)


def test_a_fact_is_said_by_several_and_each_rule_says_one() -> None:
    every_rule = [rule for rules in facts.load().rules.values() for rule in rules]
    assert len(every_rule) == len(set(every_rule))
    assert all(len(rules) > 1 for rules in facts.load().rules.values())


def test_rules_of_one_fact_confirm_the_same() -> None:
    for fact, rules in facts.load().rules.items():
        confirmed = {
            rule: {r.id for r in DOCUMENT.requirements if rule in r.confirmed_by}
            | facts.load().asks_more_than(rule)
            for rule in rules
        }
        assert len({frozenset(ids) for ids in confirmed.values()}) == 1, (fact, confirmed)


def test_what_no_scanner_can_confirm() -> None:
    """Names, wiring, and what handlers do: the scanners know nothing of the document."""
    stricter = {id_ for entry in facts.load().stricter for id_ in entry.than}
    by_scanner = {r.id for r in DOCUMENT.requirements if finding_status.scanners_rules(r) or r.id in stricter}
    assert by_scanner == {broken.requirement for broken in BROKEN}
    assert not {id_ for id_ in by_scanner if id_.startswith(("NAM", "DAT", "MON"))}


# What becomes of a finding

FINDING = Finding(
    scanner="checkov",
    rule="CKV_AWS_28",
    text="Ensure DynamoDB point in time recovery (backup) is enabled",
    severity=Severity.MEDIUM,
    stack="Pipe",
    logical_id="Orders",
    construct_path="Pipe/Orders/Resource",
)
NAG = replace(FINDING, scanner="cdk-nag", rule="AwsSolutions-DDB3")
HERE = Evidence("off", "on", "Orders", "Pipe/Orders/Resource")
ELSEWHERE = Evidence("off", "on", "Audits", "Pipe/Audits/Resource")
NOWHERE = Evidence("off", "on")
GATING = frozenset({"hardening"})


def result(status: Status, *evidence: Evidence, id_: str = "HRD-09") -> Result:
    rules = ("AwsSolutions-DDB3", "CKV_AWS_28") if id_ == "HRD-09" else ("E3505",)
    verdict = Verdict(status, evidence)
    return Result(id_, "hardening", Severity.MEDIUM, "recovers", "turn it on", verdict, rules)


def settle(
    *findings: Finding,
    results: tuple[Result, ...] = (),
    granted: tuple[Waiver, ...] = (),
    as_of: date = TODAY,
    gating: frozenset[str] | None = None,
) -> waivers.Outcome:
    categories = gating if gating is not None else {category.id for category in DOCUMENT.categories}
    return finding_status.resolve_statuses(findings, results, granted, as_of, gating=categories)


def fate(finding: Finding, *results: Result) -> tuple[FindingStatus, str | None]:
    (settled,), _, _ = settle(finding, results=results)
    return settled.status, settled.requirement


def test_a_failure_on_the_same_resource_covers() -> None:
    assert fate(FINDING, result(Status.FAIL, HERE)) == (FindingStatus.COVERED, "HRD-09")


def test_a_failure_on_no_resource_in_particular_covers() -> None:
    assert fate(FINDING, result(Status.FAIL, NOWHERE)) == (FindingStatus.COVERED, "HRD-09")


def test_a_failure_elsewhere_covers_nothing() -> None:
    assert fate(FINDING, result(Status.FAIL, ELSEWHERE)) == (FindingStatus.OPEN, None)


def test_a_failure_of_another_requirement_covers_nothing() -> None:
    assert fate(FINDING, result(Status.FAIL, HERE, id_="ERR-03")) == (FindingStatus.OPEN, None)


def test_what_was_not_assessed_covers_nothing() -> None:
    assert fate(FINDING, result(Status.NOT_ASSESSED, HERE)) == (FindingStatus.OPEN, None)


def test_a_failure_that_is_not_red_covers_nothing() -> None:
    failed = result(Status.FAIL, HERE)
    (settled,), _, _ = settle(FINDING, results=(failed,), gating=frozenset({"core"}))
    assert settled.status is FindingStatus.OPEN


def test_logical_ids_count_where_there_are_no_paths() -> None:
    bare = replace(FINDING, construct_path=None)
    assert fate(bare, result(Status.FAIL, replace(HERE, construct_path=None)))[0] is FindingStatus.COVERED
    assert fate(FINDING, result(Status.FAIL, replace(HERE, construct_path="Other/Orders")))[0] == "open"


def test_an_id_in_brackets_is_known_with_and_without_them() -> None:
    star = replace(FINDING, scanner="cdk-nag", rule="AwsSolutions-IAM5[Resource::*]")
    assert fate(star, result(Status.FAIL, HERE, id_="SEC-04")) == (FindingStatus.COVERED, "SEC-04")


def test_a_scanner_that_complains_of_what_is_met_contradicts() -> None:
    settled, problems, _ = settle(FINDING, NAG, results=(result(Status.PASS, ELSEWHERE, HERE),))
    assert {finding.status for finding in settled} == {FindingStatus.OPEN}
    (problem,) = problems
    assert problem.startswith(
        "checkov CKV_AWS_28 and cdk-nag AwsSolutions-DDB3 contradict HRD-09, which is met"
    )
    assert "Pipe/Orders/Resource" in problem


def test_a_scanner_that_complains_of_another_resource_contradicts_nothing() -> None:
    (settled,), problems, _ = settle(FINDING, results=(result(Status.PASS, ELSEWHERE),))
    assert settled.status is FindingStatus.OPEN
    assert not problems


def test_a_scanner_that_asks_for_more_contradicts_nothing() -> None:
    newest = replace(FINDING, scanner="cdk-nag", rule="AwsSolutions-L1")
    met = replace(result(Status.PASS, HERE, id_="SRV-02"), confirmed_by=("W2531",))
    (settled,), problems, _ = settle(newest, results=(met,))
    assert settled.status is FindingStatus.OPEN
    assert not problems


def waiver(finding: Finding, **fields: Any) -> Waiver:
    values = {"reason": "The table is a cache, it can be filled again.", "expires": "2027-03-01"}
    return Waiver(
        **(
            {"scanner": finding.scanner, "rule": finding.rule, "where": "waivers.yaml:1"}
            | {"resource": finding.construct_path}
            | values
            | fields
        )
    )


@pytest.mark.parametrize("finding", [FINDING, NAG], ids=lambda finding: finding.scanner)
def test_a_waiver_for_one_rule_is_for_its_fact_on_that_resource(finding: Finding) -> None:
    other = replace(NAG, logical_id="Audits", construct_path="Pipe/Audits/Resource")
    granted = (waiver(finding),)
    met = result(Status.PASS, HERE)
    settled, problems, _ = settle(FINDING, NAG, other, results=(met,), granted=granted)
    assert [f.status for f in settled] == ["waived", "waived", "open"]
    assert {f.reason for f in settled[:2]} == {granted[0].reason}
    assert {f.expires for f in settled[:2]} == {"2027-03-01"}
    assert not problems  # a waiver explains a contradiction


def test_each_of_two_waivers_of_one_fact_keeps_its_reason_and_its_end() -> None:
    later = {"reason": "Orders are kept in the archive for ten years.", "expires": "2027-04-01"}
    for first, second in ((FINDING, NAG), (NAG, FINDING)):
        settled, problems, _ = settle(FINDING, NAG, granted=(waiver(first), waiver(second, **later)))
        ends = {f.rule: (f.reason, f.expires) for f in settled}
        assert ends[first.rule] == (waiver(first).reason, "2027-03-01")
        assert ends[second.rule] == tuple(later.values())
        assert not problems


def test_a_waiver_that_is_no_good_waives_no_row() -> None:
    settled, problems, _ = settle(FINDING, NAG, granted=(waiver(NAG, expires="2026-01-01"),))
    assert {f.status for f in settled} == {FindingStatus.OPEN}
    assert len(problems) == 1


def test_one_fact_on_one_resource_is_one_row() -> None:
    other = replace(NAG, logical_id="Audits", construct_path="Pipe/Audits/Resource")
    alone = replace(FINDING, rule="CKV_AWS_119")
    settled, _, _ = settle(FINDING, NAG, other, alone)
    found = list(rows(settled))
    assert [[f.rule for f in row] for row in found] == [
        ["CKV_AWS_28", "AwsSolutions-DDB3"],
        ["AwsSolutions-DDB3"],
        ["CKV_AWS_119"],
    ]
    assert found[0][0].fact == "a table recovers to a point in time"


# The gate, by the command line, on assemblies made once


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours") / "cdk.out"
    app.build({}, outdir=str(folder), validate=False).synth()
    return folder


class Gate(NamedTuple):
    code: int
    report: dict[str, Any]
    error: str

    @property
    def lines(self) -> list[str]:
        """What is red, as the report says it: open findings and problems."""
        open_ = [f for f in self.report["findings"] if f["status"] == "open"]
        return [f"{f['rule']} on {f['construct_path']}" for f in open_] + self.report["problems"]


def gate(*arguments: str | Path) -> Gate:
    fixed = ["audit", "--as-of", TODAY.isoformat(), "--format", "json"]
    ran = CliRunner().invoke(main, [*fixed, *map(str, arguments)], prog_name="compliance")
    return Gate(ran.exit_code, json.loads(ran.stdout) if ran.exit_code < 2 else {}, ran.stderr)


def granted(tmp_path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    entries = yaml.safe_load((ROOT / "compliance" / "waivers.yaml").read_text())
    for entry in entries:
        entry["expires"] = str(entry["expires"])
    change(entries)
    file = tmp_path / "waivers.yaml"
    file.write_text(yaml.safe_dump(entries))
    return file


def position(entries: Sequence[dict[str, Any]], rule: str) -> int:
    return next(number for number, entry in enumerate(entries) if entry["rule"] == rule)


def test_our_stack_is_green_with_its_waivers(ours: Path) -> None:
    code, report, _ = gate("--assembly", ours)
    assert code == 0
    assert {finding["status"] for finding in report["findings"]} == {"waived"}
    assert all(f["reason"] and f["expires"] and 0 < f["days_left"] <= 366 for f in report["findings"])
    assert all(scanner["ran"] and scanner["evaluated"] for scanner in report["scanners"])


def test_a_waiver_taken_out_is_red_with_what_it_was_for(ours: Path, tmp_path: Path) -> None:
    file = granted(tmp_path, lambda entries: entries.pop(position(entries, "CKV_AWS_117")))
    ran = gate("--assembly", ours, "--waivers", file)
    assert ran.code == 1
    assert sorted(ran.lines) == [
        "CKV_AWS_117 on OrderPipeline/Auditing/Audit/Function/Resource",
        "CKV_AWS_117 on OrderPipeline/Processing/Processor/Function/Resource",
    ]


def test_a_waiver_out_of_date_is_red_and_named(ours: Path, tmp_path: Path) -> None:
    def backdate(entries: list[dict[str, Any]]) -> None:
        entries[position(entries, "CKV_AWS_18")]["expires"] = "2026-11-24"

    ran = gate("--assembly", ours, "--waivers", granted(tmp_path, backdate))
    assert ran.code == 1
    finding, problem = ran.lines
    assert finding == "CKV_AWS_18 on OrderPipeline/Storage/AccessLogs/Resource"
    assert re.search(
        r"waivers\.yaml:\d+: checkov CKV_AWS_18 on OrderPipeline/Storage/AccessLogs/Resource: "
        r"expired on 2026-11-24; fix the finding",
        problem,
    )


def test_a_waiver_for_a_mistyped_resource_is_red_and_named(ours: Path, tmp_path: Path) -> None:
    def mistype(entries: list[dict[str, Any]]) -> None:
        entry = entries[position(entries, "Serverless-SQSRedrivePolicy")]
        entry["resource"] = "OrderPipeline/Storage/AuditDql/Resource"

    ran = gate("--assembly", ours, "--waivers", granted(tmp_path, mistype))
    assert ran.code == 1
    finding, problem = ran.lines
    assert finding == "Serverless-SQSRedrivePolicy on OrderPipeline/Storage/AuditDlq/Resource"
    assert (
        "OrderPipeline/Storage/AuditDql/Resource: matches no finding; the rule is broken elsewhere:"
        in problem
    )
    assert problem.endswith("OrderPipeline/Storage/AuditDlq/Resource")


@pytest.fixture(scope="module")
def open_findings(laboratory: Laboratory) -> tuple[Finding, ...]:
    """What the scanners find in our stack by the usual packs, with no waiver at all."""
    return tuple(f for f in laboratory.found[UNBROKEN] if not f.rule.startswith(OPTIONAL))


OURS = waivers.load(ROOT / "compliance" / "waivers.yaml")


@pytest.mark.parametrize("number", range(len(OURS)), ids=lambda number: OURS[number].rule)
def test_each_of_our_waivers_is_needed_and_argued(open_findings: tuple[Finding, ...], number: int) -> None:
    settled, problems, _ = settle(*open_findings, granted=OURS)
    assert not problems
    assert {f.status for f in settled} == {FindingStatus.WAIVED}
    rest = (*OURS[:number], *OURS[number + 1 :])
    settled, problems, _ = settle(*open_findings, granted=rest)
    reopened = {f.rule for f in settled if f.status is FindingStatus.OPEN}
    assert reopened == set(facts.load().same(OURS[number].rule)) & {f.rule for f in open_findings}
    assert not problems
    assert len(OURS[number].reason.split()) >= 25  # an argument, with what it costs


def test_our_waivers_end_at_different_times() -> None:
    assert len({waiver.expires for waiver in OURS}) >= 4


# A scanner that broke


def printing(text: str) -> list[str]:
    return [sys.executable, "-I", "-c", f"print({text!r})"]


def nothing(assembly: Path) -> list[str]:
    """The command of a scanner that looks at all resources, and finds nothing."""
    said = [
        {
            "stack": path.name.removesuffix(".template.json"),
            "version": "1",
            "evaluated": 1,
            "resources": len(json.loads(path.read_text())["Resources"]),
            "judged": [],
            "findings": [],
        }
        for path in assembly.glob("*.template.json")
    ]
    return printing(json.dumps({"templates": said}))


@pytest.mark.parametrize("name", ["checkov", "cfn-lint"])
def test_a_scanner_that_cannot_be_imported_is_exit_3(
    name: str, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others, which would run for seconds, find nothing."""
    package = tmp_path / name.replace("-", "")
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its own import is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    real = scanners.command
    monkeypatch.setattr(scanners, "command", lambda which: real(which) if which == name else nothing(ours))
    ran = gate("--assembly", ours, "--skip-handlers")
    assert ran.code == 3
    assert ran.error == f"checker broke: {name} could not run: ImportError: its own import is broken\n"


def test_a_nag_that_does_not_start_is_exit_3(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [sys.executable, "-c", "raise SystemExit('no node')"]
    monkeypatch.setattr(scanners.nag, "command", lambda: broken)
    ran = gate("--assembly", ours, "--skip-handlers")
    assert (ran.code, ran.error) == (3, "checker broke: cdk-nag could not run: no node\n")


@pytest.mark.parametrize("name", SCANNERS)
@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        ("{}", "gave a report that makes no sense"),
        ("not json", "gave no report, but 'not json'"),
        ("", "gave no report, but"),
        ('{"templates": []}', "looked at 0 of "),
    ],
    ids=["empty object", "no JSON", "nothing", "nothing evaluated"],
)
def test_a_scanner_whose_report_is_broken_is_exit_3(
    name: str, report: str, complaint: str, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(which: str) -> list[str]:
        return printing(report) if which == name else nothing(ours)

    monkeypatch.setattr(scanners, "command", says)
    ran = gate("--assembly", ours, "--skip-handlers")
    assert ran.code == 3
    assert ran.error.startswith(f"checker broke: {name} {complaint}")
    assert ran.error.count("\n") == 1


# A red app: the corrected stack of the review


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Its assembly, and waivers that waive nothing."""
    folder = tmp_path_factory.mktemp("corrected")
    stack = ROOT / "tests" / "fixtures" / "corrected" / "app.py"
    synthesise(App(f"{sys.executable} {stack}", ROOT, {}), folder / "cdk.out", {})
    (folder / "waivers.yaml").write_text("")
    return folder / "cdk.out", folder / "waivers.yaml"


def test_each_finding_is_there_once_under_its_requirement_or_open(corrected: tuple[Path, Path]) -> None:
    assembly, none = corrected
    code, report, _ = gate("--assembly", assembly, "--waivers", none)
    assert code == 1
    assert not report["problems"]
    found = [(f["scanner"], f["rule"], f["construct_path"]) for f in report["findings"]]
    assert len(found) == len(set(found))
    failed = {r["id"]: r for r in report["requirements"] if r["status"] == "fail"}
    covered = [f for f in report["findings"] if f["status"] == "covered"]
    for finding in covered:
        evidence = failed[finding["requirement"]]["evidence"]
        assert finding["construct_path"] in {item["construct_path"] for item in evidence}
    by_rule = {(f["rule"], f["requirement"]) for f in covered}
    assert by_rule >= {
        ("AwsSolutions-DDB3", "HRD-09"),
        ("CKV_AWS_28", "HRD-09"),
        ("AwsSolutions-SQS4", "HRD-07"),
        ("CKV_AWS_27", "HRD-08"),
        ("AwsSolutions-S10", "HRD-07"),
        ("Serverless-LambdaTracing", "HRD-16"),
        ("W2531", "SRV-02"),
    }
    open_ = {f["rule"] for f in report["findings"] if f["status"] == "open"}
    assert open_ >= {"CKV_AWS_116", "Serverless-LambdaDLQ", "CKV_AWS_117", "AwsSolutions-S1"}

    # The terminal says each rule, at most once for each resource, and counts what is open.
    arguments = ["audit", "--as-of", TODAY.isoformat(), "--assembly", str(assembly), "--waivers", str(none)]
    said = "".join(CliRunner().invoke(main, arguments).stdout.split())  # long ids are folded
    for finding in report["findings"]:
        rule, bracket, what = finding["rule"].partition("[")
        assert re.search(rf"{re.escape(rule)}(?!\d)", said)
        assert finding.get("made_by_cdk") or bracket + what in said
    assert f"{sum(f['status'] == 'open' for f in report['findings'])}openfindings" in said
    assert said.count("cdk-nagAwsSolutions-DDB3,checkovCKV_AWS_28on") == 2


def test_the_waivers_of_one_app_are_not_another_s(tmp_path: Path) -> None:
    template = tmp_path / "other.json"
    template.write_text(json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}))
    ran = gate("--template", template)
    assert ran.code == 1
    assert not ran.report["problems"]
