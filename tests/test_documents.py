"""The documents of other teams, examples/documents: what is right is green, and what is wrong is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from compliance.auditing import Options, audit
from compliance.document.requirements import KEYED, load
from compliance.model import Status
from compliance.rules import bind

DOCUMENTS = Path(__file__).parents[1] / "examples" / "documents"
TEMPLATES = sorted(DOCUMENTS.glob("*/corrected.yaml"))


def unmet(folder: Path, template: Path) -> dict[str, str]:
    """The requirements of a folder's document that a template does not meet, handlers' behaviour apart."""
    options = Options(
        template=template, requirements=folder / "requirements.yaml", skip_scanners=True, skip_handlers=True
    )
    results = audit(options).results
    handlers = {r.id for r in load(folder / "requirements.yaml").requirements if r.kind in KEYED}
    unmet = (r for r in results if r.verdict.status is not Status.PASS and r.id not in handlers)
    return {r.id: r.verdict.status.value for r in unmet}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_the_corrected_template_is_right(path: Path) -> None:
    assert unmet(path.parent, path) == {}


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*/requirements.yaml")), ids=lambda p: p.parent.name)
def test_every_document_can_be_read(path: Path) -> None:
    assert bind(load(path))


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


WEB = DOCUMENTS / "web_infra"
S3 = """\
          - {Sid: s3, Effect: Allow, Principal: {Service: logging.s3.amazonaws.com}, Action: s3:PutObject, \
Resource: !Sub "${LogBucket.Arn}/*", Condition: {StringEquals: {"aws:SourceAccount": !Ref "AWS::AccountId"}}}
"""
CLOUDFRONT = S3.replace("Sid: s3", "Sid: cf").replace("logging.s3", "cloudfront")
INGRESS = (
    "SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 3306, ToPort: 3306, "
    "SourceSecurityGroupId: !Ref WebGroup}], "
)
APART = "  In: {Type: AWS::EC2::SecurityGroupIngress, Properties: {GroupId: !Ref DataGroup, %s}}\n"
FROM_WEB = "IpProtocol: tcp, FromPort: 3306, ToPort: 3306, SourceSecurityGroupId: !Ref WebGroup"
MANAGED = '!Sub "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"'
ADMIN = '"arn:aws:iam::aws:policy/AdministratorAccess"'

SAME: dict[str, tuple[tuple[str, str], ...]] = {
    "policy statements in the other order": ((S3 + CLOUDFRONT, CLOUDFRONT + S3),),
    "both services in one statement": (
        (
            S3 + CLOUDFRONT,
            S3.replace("logging.s3.amazonaws.com}", "[logging.s3.amazonaws.com, cloudfront.amazonaws.com]}"),
        ),
    ),
    "a newer MySQL": (("EngineVersion: 8.0.39", "EngineVersion: 8.4.3"),),
    "ingress as a resource of its own": ((INGRESS, ""), ("Resources:\n", "Resources:\n" + APART % FROM_WEB)),
    "no MapPublicIpOnLaunch": (("MapPublicIpOnLaunch: true, ", ""), ("MapPublicIpOnLaunch: true, ", "")),
    "numbers as text": (("FromPort: 3306, ToPort: 3306", 'FromPort: "3306", ToPort: "3306"'),),
    "the protocol by its number": (("{IpProtocol: tcp, FromPort: 3306", "{IpProtocol: 6, FromPort: 3306"),),
}
SAME["true as text"] = (("AllSupported: true", 'AllSupported: "true"'),)
SAME["a dynamic reference in pieces"] = (
    (
        'MasterUserPassword: !Sub "{{resolve:secretsmanager:${Credentials}:SecretString:password}}"',
        'MasterUserPassword: !Join ["", ["{{resolve:secrets", "manager:", !Ref Credentials, '
        '":SecretString:password}}"]]',
    ),
)
WRONG: dict[str, tuple[tuple[str, str], ...]] = {
    "open to the world by a second ingress": (
        ("Resources:\n", "Resources:\n" + APART % 'IpProtocol: "-1", CidrIp: 0.0.0.0/0'),
    ),
    "open by IPv6": (("Resources:\n", "Resources:\n" + APART % 'IpProtocol: "-1", CidrIpv6: "::/0"'),),
    "instances in a public subnet": (
        (
            "VPCZoneIdentifier: [!Ref PrivateA, !Ref PrivateB]",
            "VPCZoneIdentifier: [!Ref PrivateA, !Ref PublicB]",
        ),
    ),
    "database in a public subnet": (
        ("SubnetIds: [!Ref PrivateA, !Ref PrivateB]", "SubnetIds: [!Ref PrivateA, !Ref PublicB]"),
    ),
    "a private subnet routed to the gateway": (
        (
            "SubnetId: !Ref PrivateB, RouteTableId: !Ref PrivateTable",
            "SubnetId: !Ref PrivateB, RouteTableId: !Ref PublicTable",
        ),
    ),
    "database without the suffix": (
        ("DBInstanceIdentifier: !Sub db-${EnvironmentSuffix}", "DBInstanceIdentifier: db"),
    ),
    "trail without the suffix": (('TrailName: !Sub "trail-${EnvironmentSuffix}"', "TrailName: trail"),),
    "the log policy denies": (("Sid: s3, Effect: Allow", "Sid: s3, Effect: Deny"),),
    "balancer without DependsOn": (("    DependsOn: [Attach, PublicRoute, JoinA, JoinB]\n", ""),),
    "database retained": (
        (
            "    DeletionPolicy: Delete\n    Properties:\n      DBInst",
            "    DeletionPolicy: Retain\n    Properties:\n      DBInst",
        ),
    ),
    "a parameter without a default": (
        ("EnvironmentSuffix: {Type: String, Default: dev}", "EnvironmentSuffix: {Type: String}"),
    ),
    "administrators": ((f"[{MANAGED}]", f"[{MANAGED}, {ADMIN}]"),),
    "SSH open": (
        (
            "ToPort: 80, CidrIp: 0.0.0.0/0}]",
            "ToPort: 80, CidrIp: 0.0.0.0/0}, {IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0}]",
        ),
    ),
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME.keys())
def test_another_spelling_of_the_web_site_is_right(
    tmp_path: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(changed((WEB / "corrected.yaml").read_text(), *changes))
    assert unmet(WEB, path) == {}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_a_flaw_of_the_web_site_is_seen(tmp_path: Path, changes: tuple[tuple[str, str], ...]) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(changed((WEB / "corrected.yaml").read_text(), *changes))
    assert "fail" in unmet(WEB, path).values()


def test_every_finding_about_the_flawed_web_site_is_seen() -> None:
    found = unmet(WEB, WEB / "flawed.yaml")
    findings = {r for r in found if r.startswith("FND") and found[r] == "fail"}
    assert len(findings) == 15
