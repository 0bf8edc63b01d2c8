"""Templates with what their parameters decide, as scanners get them."""

from __future__ import annotations

from pathlib import Path

from compliance.template.assembly import Stack
from compliance.template.decided import decided
from compliance.template.loading import load_template

TEXT = """
Parameters:
  Open: {Type: String, Default: 'no'}
  Other: {Type: String}
  Unused: {Type: String, Default: x}
Conditions:
  IsOpen: !Equals [!Ref Open, 'yes']
  Closed: !Not [{Condition: IsOpen}]
  Perhaps: !And [{Condition: IsOpen}, !Equals [!Ref Other, x]]
  Maybe: !Equals [!Ref Other, y]
Resources:
  A: {Type: AWS::S3::Bucket, Condition: IsOpen, Properties: {AccessControl: PublicRead}}
  B: {Type: AWS::S3::Bucket, Condition: Closed, DependsOn: [A]}
  C: {Type: AWS::S3::Bucket, Condition: Maybe}
  D:
    Type: AWS::S3::Bucket
    Properties:
      AccessControl: !If [IsOpen, PublicRead, !Ref AWS::NoValue]
      BucketName: !If [Maybe, x, y]
Outputs:
  O: {Condition: IsOpen, Value: x}
"""


def load(folder: Path, **arguments: str) -> Stack:
    path = folder / "t.yaml"
    path.write_text(TEXT)
    return load_template(path, arguments=arguments).stacks[0]


def test_what_is_passed_decides_what_a_scanner_sees(tmp_path: Path) -> None:
    made = decided(load(tmp_path, Open="yes"))
    assert list(made["Resources"]) == ["A", "C", "D"]
    assert "Condition" not in made["Resources"]["A"]
    assert made["Resources"]["D"]["Properties"]["AccessControl"] == "PublicRead"
    assert made["Parameters"]["Open"]["Default"] == "yes"  # an undecided condition still needs it
    assert "O" in made["Outputs"]


def test_what_is_gone_is_gone_whole_and_the_undecided_stays(tmp_path: Path) -> None:
    stack = load(tmp_path)
    made = decided(stack)
    assert made["Resources"]["B"] == {"Type": "AWS::S3::Bucket"}
    assert made["Resources"]["C"]["Condition"] == "Maybe"
    assert made["Resources"]["D"]["Properties"] == {"BucketName": {"Fn::If": ["Maybe", "x", "y"]}}
    assert set(made["Conditions"]) == {"Maybe"}  # Perhaps depends on one that is false
    assert set(made["Parameters"]) == {"Other", "Unused"}
    assert stack.template["Resources"]["A"]["Condition"] == "IsOpen"  # the template itself is as it was
