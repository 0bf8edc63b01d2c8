"""Files nobody vouches for: what is read, what is refused and where, and how a report is written."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from patience import limit

from compliance.model import InputError
from compliance.template import source
from compliance.template.source import (
    check_writable,
    read_json,
    read_template,
    read_text,
    read_yaml,
    write_atomically,
)

# YAML with CloudFormation's tags

READ = {
    "ref": ("a: !Ref B", {"a": {"Ref": "B"}}),
    "ref of a pseudo parameter": ("a: !Ref AWS::Region", {"a": {"Ref": "AWS::Region"}}),
    "getatt": ("a: !GetAtt B.C", {"a": {"Fn::GetAtt": ["B", "C"]}}),
    "getatt of a nested stack": ("a: !GetAtt A.Outputs.C", {"a": {"Fn::GetAtt": ["A", "Outputs.C"]}}),
    "getatt as a list": ("a: !GetAtt [B, C]", {"a": {"Fn::GetAtt": ["B", "C"]}}),
    "sub": ("a: !Sub '${B}-x'", {"a": {"Fn::Sub": "${B}-x"}}),
    "sub with variables": (
        "a: !Sub ['${b}', {b: !Sub ['${c}', {c: !Ref D}]}]",
        {"a": {"Fn::Sub": ["${b}", {"b": {"Fn::Sub": ["${c}", {"c": {"Ref": "D"}}]}}]}},
    ),
    "sub in a block": ("a: !Sub |\n  ${B}\n", {"a": {"Fn::Sub": "${B}\n"}}),
    "join": ("a: !Join ['-', [b, !Ref C]]", {"a": {"Fn::Join": ["-", ["b", {"Ref": "C"}]]}}),
    "if": (
        "a: !If [B, !Ref 'AWS::NoValue', !GetAtt C.D]",
        {"a": {"Fn::If": ["B", {"Ref": "AWS::NoValue"}, {"Fn::GetAtt": ["C", "D"]}]}},
    ),
    "condition": ("a: !And [!Condition B, !Not [!Equals [c, d]]]",
        {"a": {"Fn::And": [{"Condition": "B"}, {"Fn::Not": [{"Fn::Equals": ["c", "d"]}]}]}}),
    "transform": (
        "a: !Transform {Name: AWS::Include, Parameters: {Location: !Ref B}}",
        {"a": {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": {"Ref": "B"}}}}},
    ),
    "every other short form": (
        "a: [!Base64 x, !Cidr [a, 1, 2], !FindInMap [a, b, c], !GetAZs '', !ImportValue x, !Select [0, [a]],"
        " !Split [',', b], !Or [x], !ToJsonString {a: 1}, !Length [1]]",
        {"a": [
            {"Fn::Base64": "x"}, {"Fn::Cidr": ["a", 1, 2]}, {"Fn::FindInMap": ["a", "b", "c"]},
            {"Fn::GetAZs": ""}, {"Fn::ImportValue": "x"}, {"Fn::Select": [0, ["a"]]},
            {"Fn::Split": [",", "b"]}, {"Fn::Or": ["x"]}, {"Fn::ToJsonString": {"a": 1}},
            {"Fn::Length": [1]},
        ]},
    ),
    "long form beside a short one": ("a: {Fn::Base64: !Sub b}", {"a": {"Fn::Base64": {"Fn::Sub": "b"}}}),
    "a date stays a text": ("Version: 2012-10-17", {"Version": "2012-10-17"}),
    "a time stays a text": ("a: 2001-12-14t21:59:43.10-05:00", {"a": "2001-12-14t21:59:43.10-05:00"}),
    "an equals sign is a text": ("a: =", {"a": "="}),
    "keys are texts": ("{012345678: a, true: b, 1.50: c}", {"012345678": "a", "true": "b", "1.50": "c"}),
    "a leading byte order mark": ("\ufeffa: 1", {"a": 1}),
    "carriage returns": ("a: 1\r\nb: |\r\n  c\r\n", {"a": 1, "b": "c\n"}),
    "unicode": ("a: Größe – 名前 🚀", {"a": "Größe – 名前 🚀"}),
    "an alias": ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
    "flow style": ("{a: b,\n c: [d]}", {"a": "b", "c": ["d"]}),
    "json": ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
    "a document marker": ("---\na: 1\n...\n", {"a": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "data"), READ.values(), ids=READ.keys())
def test_reads(tmp_path: Path, text: str, data: Any) -> None:
    path = tmp_path / "template.yaml"
    path.write_bytes(text.encode())
    assert read_template(path)[0] == data


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


REFUSED = {
    "nothing": ("x.yaml", b"", "x.yaml: the file is empty"),
    "blanks": ("x.yaml", b" \n\n", "x.yaml: the file is empty"),
    "only a comment": ("x.yaml", b"# nothing\n", "x.yaml: the file is empty"),
    "bomb": ("x.yaml", bomb().encode(), "x.yaml: more than 500,000 nodes, aliases followed"),
    "alias in itself": ("x.yaml", b"a: 1\nb: &b\n  - c: *b\n", "x.yaml:2: an alias that contains itself"),
    "alias of nothing": ("x.yaml", b"a: *b", "x.yaml:1:4: not valid YAML: found undefined alias"),
    "a key twice": ("x.yaml", b"a: 1\nb: 2\na: 3\n", "x.yaml:3:1: not valid YAML: the key 'a' stands twice"),
    "a key twice in json": ("x.json", b'{"a": 1,\n "a": 2}', "x.json:2:2: .*: the key 'a' stands"),
    "merge": ("x.yaml", b"a: &a {b: 1}\nc:\n  <<: *a\n", "x.yaml:3:3: not valid YAML: a merge key"),
    "list as key": ("x.yaml", b"? [a]\n: 1\n", "x.yaml:1:3: not valid YAML: a key that is no plain value"),
    "function as key": ("x.yaml", b"? !Ref a\n: 1\n", "x.yaml:1:3: not valid YAML: a key that is no plain"),
    "null as key": ("x.yaml", b"~: 1\n", "x.yaml:1:1: not valid YAML: a key that is no plain value"),
    "tab": ("x.yaml", b"a:\n\tb: 1\n", "x.yaml:2:1: not valid YAML: .*cannot start any token"),
    "utf-16": ("x.yaml", "a: 1".encode("utf-16"), r"x.yaml: not UTF-8 text \(byte 0\)"),
    "latin-1": ("x.yaml", b"a: \xe9", r"x.yaml: not UTF-8 text \(byte 3\)"),
    "binary": ("x.yaml", bytes(range(256)), "x.yaml: not UTF-8 text"),
    "nul": ("x.yaml", b"a: 1\nb: \x00", "x.yaml:2: not valid YAML: the character U.0000 is not allowed"),
    "escape sequence": ("x.yaml", b"a: \x1b[2J", "x.yaml:1: not valid YAML: the character U.001B is not"),
    "nul in json": ("x.json", b'{"a": "\x00"}', "x.json:1:8: not valid JSON: Invalid control character"),
    "two documents": ("x.yaml", b"a: 1\n---\nb: 2\n", "x.yaml:2:1: .*expected a single document"),
    "yaml cut short": ("x.yaml", b"a: [1, 2\n", "x.yaml:2:1: not valid YAML"),
    "json cut short": ("x.json", b'{"a": [1, 2', "x.json:1:12: not valid JSON: Expecting ',' delimiter"),
    "a json file that is yaml": ("x.json", b"a: 1", "x.json:1:1: not valid JSON: Expecting value"),
    "nested without end": ("x.json", b"[" * 100_000, "x.json: not valid JSON"),
    "nested too deeply": ("x.json", b"[" * 150 + b"]" * 150, "x.json: nested more than 100 levels deep"),
    "yaml nested without end": ("x.yaml", b"{a: " * 100_000, "x.yaml:1:.*exceeded maximum nesting depth"),
    "infinity in json": ("x.json", b'{"a": Infinity}', "x.json: not valid JSON: Infinity is no JSON"),
    "a huge exponent in json": ("x.json", b'{"a": 1e999}', "x.json: not valid JSON: the number 1e999"),
    "infinity in yaml": ("x.yaml", b"a: -.inf", "x.yaml:1:4: .*-.inf is no number that CloudFormation"),
    "not a number": ("x.yaml", b"a: .nan", "x.yaml:1:4: .*is no number that CloudFormation knows"),
    "5000 digits in json": ("x.json", b"[" + b"1" * 5000 + b"]", "x.json: not valid JSON: Exceeds the limit"),
    "5000 digits in yaml": ("x.yaml", b"a: " + b"1" * 5000, "x.yaml:1:4: not valid YAML: no int"),
    "no int": ("x.yaml", b"a: !!int x", "x.yaml:1:4: not valid YAML: no int that can be read"),
    "no truth value": ("x.yaml", b"a: !!bool x", "x.yaml:1:4: not valid YAML: no bool that can be read"),
    "no mapping": ("x.yaml", b"a: !!map [x]", "x.yaml:1:4: not valid YAML: a mapping is wanted"),
    "python object": ("x.yaml", b"a: !!python/object/apply:os.system [x]", "x.yaml:1:4: .*could not"),
    "a key twice beside an escaped colon": (
        "x.json",
        b'{"a": "\\u003a", "b": {"c": 1, "c": 2}}',
        "x.json:1:31: not valid JSON: the key 'c' stands twice",
    ),
    "half a surrogate": ("x.json", b'{"a": "\\ud800"}', "x.json: not valid JSON: half of a surrogate pair"),
    **{
        f"tag {tag}": ("x.yaml", f"a: !!{tag} {value}".encode(), f"x.yaml:1:4: .*the tag {tag}, which")
        for tag, value in (("binary", "aGk="), ("set", "{a, b}"), ("omap", "[a: 1]"),
                           ("pairs", "[a: 1]"), ("timestamp", "2001-01-01"))
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(tmp_path: Path, name: str, content: bytes, error: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path}/{error}") as raised:
        read_template(path)
    assert "\n" not in str(raised.value)


def test_equal_properties_of_a_template_are_read_once(tmp_path: Path) -> None:
    tags = [{"Key": "Stage", "Value": "dev"}]
    resources = {name: {"Type": "AWS::SQS::Queue", "Properties": {"Tags": tags}} for name in ("A", "B")}
    template: dict[str, Any] = {"Description": "d", "Resources": resources, "Outputs": {}}
    path = tmp_path / "t.json"
    path.write_text(json.dumps(template))
    data: Any = read_template(path)[0]
    assert data == template
    assert list(data) == list(template)
    first, second = (resource["Properties"] for resource in data["Resources"].values())
    assert first is not second
    assert first["Tags"] is second["Tags"]


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(50 * 2**20)
    began = time.perf_counter()
    with pytest.raises(InputError, match=r"large.json: 50.0 MiB is too large \(limit 10 MiB\)"):
        read_json(path)
    assert time.perf_counter() - began < limit(1)


def test_yaml_has_cloudformations_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: " + "x" * 2**20)
    with pytest.raises(InputError, match=r"large.yaml: 1.0 MiB is too large \(limit 1 MiB\)"):
        read_yaml(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, error in {
        "none": "no such file",
        ".": "a folder",
        "pipe": "not a regular file",
        "loop": "Too many levels of symbolic links",
        "a\0b": "no name of a file",
        "x" * 300: "File name too long",
    }.items():
        with pytest.raises(InputError, match=f"{error}$"):
            read_text(tmp_path / name)


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  b:\n    - c: 1\n    - d:\n        e: 2\n")
    _, lines = read_yaml(path, depth=3)
    assert [lines.at(p) for p in (("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1, "d"))] == [1, 2, 3, None]
    assert lines.near(("a", "b", 1, "d", "e")) == 4


# Writing


def test_writes_the_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, "old\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    path.chmod(0o640)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(source.os, "replace", fail)
    with pytest.raises(InputError, match=r"report.json: cannot be written: No space left on device"):
        write_atomically(path, "new\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["report.json"]
    monkeypatch.undo()
    write_atomically(path, "new\n")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_writes_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_devices_stay_devices() -> None:
    check_writable(Path("/dev/null"))
    write_atomically(Path("/dev/null"), "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(InputError, match="/dev/full: cannot be written: No space left"):
        write_atomically(Path("/dev/full"), "text")


@pytest.mark.parametrize(
    ("name", "error"),
    [("", "is a folder"), ("none/report", "No such file or directory"), ("file/report", "Not a directory"),
     ("a\0b", "no name of a file"), ("x" * 300, "File name too long")],
    ids=["folder", "folder missing", "below a file", "nul", "long name"],
)  # fmt: skip
def test_unwritable(tmp_path: Path, name: str, error: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=error):
        check_writable(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]


def test_an_unwritable_folder_is_found_by_trying() -> None:
    # Root may write anywhere by its modes; the kernel's own folders still refuse.
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(Path("/proc/report.json"))


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
