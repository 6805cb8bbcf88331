# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is no report is named for what it is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.source import read_file

FIXTURES = Path(__file__).parent / "fixtures"

WRONG = {
    "hadolint.json": "hadolint or ShellCheck",
    "kubescape-of-text.json": "whose summaryDetails are no object",
    "kubescape-operator.json": "a WorkloadConfigurationScan of the kubescape operator",
    "policy-report.json": "a PolicyReport of the policy reports that Kyverno",
    "popeye-of-text.json": "whose 'popeye' is no object",
    "results-of-another-tool.json": "Results that are not Trivy's",
    "trivy-compliance-summary.json": "a compliance report of Trivy",
    "trivy-operator-secrets.json": "an ExposedSecretReport of trivy-operator",
    "grype.json": "Grype",
    "kubescape-exceptions.json": "kubescape exceptions file",
    "kubescape-framework.json": "framework or control policy",
    "look-alike.json": "no summaryDetails",
    "page.html": "HTML, not JSON",
    "popeye.log": "popeye, which gave up: Get",
    "popeye-unreachable.log": "popeye, which gave up: init connection fail: unable to fetch server groups: Get",
    "sarif.json": "SARIF",
    "scan.log": "not JSON but text",
    "trivy-operator.json": "trivy-operator",
}
OWN = {
    "popeye": "popeye/0.20.0.json",
    "kubescape": "kubescape/2.9.2.json",
    "trivy": "trivy/0.56.0-fs.json",
    "istioctl": "istioctl/1.31.0.json",
    "sarif": "sarif/2.1.0-kube-score-1.20.0.json",
}


def refused(tool: str, data: bytes | str) -> str:
    with pytest.raises(ReportError) as caught:
        read_report(tool, data, "the report")
    return str(caught.value)


def test_all_wrong_files_are_expected() -> None:
    assert {path.name for path in (FIXTURES / "wrong").iterdir()} == set(WRONG)


@pytest.mark.parametrize(
    ("tool", "name"), [(tool, name) for tool in READERS for name in WRONG if name != f"{tool}.json"]
)
def test_foreign_files(tool: str, name: str) -> None:
    assert WRONG[name] in refused(tool, (FIXTURES / "wrong" / name).read_bytes())


@pytest.mark.parametrize("tool", READERS)
@pytest.mark.parametrize("other", READERS)
def test_another_tools_report(tool: str, other: str) -> None:
    data = (FIXTURES / OWN[other]).read_bytes()
    if tool == other:
        assert read_report(tool, data, "x").findings
    else:
        assert other.removesuffix("ctl") in refused(tool, data).lower()


@pytest.mark.parametrize("tool", READERS)
def test_cut_files_say_where(tool: str) -> None:
    data = (FIXTURES / OWN[tool]).read_text().rstrip()
    for length in range(2, len(data) - 1, max(1, len(data) // 150)):
        said = refused(tool, data[:length])
        assert "truncated JSON" in said, (length, said)
        assert "line " in said
        assert "column " in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        ("\ufeff".encode(), "is empty"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b'{"a"\n: tru}', "line 2, column 3"),
        (b'{"popeye": {}} trailing', "more after its JSON, from line 1, column 16"),
        (b'{"popeye": "\xff"}', "not UTF-8: byte 0xff at line 1, byte 13"),
        (
            b'{"popeye": {}}\n{"popeye": {}}',
            """a second document after its JSON, from line 2, column 1, which begins '{"p""",
        ),
        ("{}".encode("utf-16"), "UTF-16"),
        ('{"popeye": {}}\r\n'.encode("utf-16-le"), "is UTF-16; write it as UTF-8"),
        ('{"popeye": {}}\r\n'.encode("utf-16-be"), "is UTF-16; write it as UTF-8"),
        ("[]".encode("utf-16-le"), "is UTF-16"),
        (
            b"- code: IST0102\n  level: Info\n  message: The namespace\n",
            "istioctl analyze's YAML, not JSON; ask for -o json",
        ),
        (b"- documentationUrl: https://x\n  code: IST0102\n", "istioctl analyze's YAML"),
        (b"popeye:\n  score: 80\n", "popeye's YAML, not JSON; ask for -o json"),
        (b"summaryDetails:\n  score: 80\n", "kubescape's YAML, not JSON; ask for --format json"),
        (
            b"apiVersion: aquasecurity.github.io/v1alpha1\nkind: ExposedSecretReport\nmetadata: {}\n",
            "YAML, not JSON: an ExposedSecretReport of trivy-operator",
        ),
        (b"- apiVersion: v1\n  kind: Pod\n", "YAML, not JSON: a Kubernetes object of kind 'Pod'"),
        (b"\x00\x01\x02\xff", "binary data"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deep"),
        (b'{"popeye": ' + b"9" * 5000 + b"}", "can't be decoded"),
        (b"42", "not JSON but text"),
        (b"kind: List\nitems: []\n", "YAML"),
        (b"<testsuites/>", "XML"),
        (b"{}", "an empty JSON object"),
        (b"[3]", "an array"),
    ],
)
def test_what_is_no_report(data: bytes, words: str) -> None:
    expected = words.replace("an array", "a JSON array of what are no objects")
    assert expected in refused("popeye", data)


def test_byte_order_mark_colours_and_blanks_are_let_pass() -> None:
    data = (FIXTURES / OWN["popeye"]).read_text()
    plain = read_report("popeye", data, "x")
    for dressed in ("\ufeff" + data, f"\x1b[2J\x1b[38;5;9m{data}\x1b[0m\n", f"\x1b]0;title\x07 \r\n{data}"):
        assert len(read_report("popeye", dressed.encode(), "x").findings) == len(plain.findings)


def test_numbers_that_are_none() -> None:
    for score in ("NaN", "Infinity", "-Infinity", "1e999", '"high"', "[]", "true", "null"):
        data = (
            f'{{"popeye": {{"score": {score}, "grade": 5, "sections": [{{"linter": 7, "issues": {{"a/b": [1]}}}}]}}}}'
        )
        report = read_report("popeye", data, "x")
        assert report.score is None
        assert report.grade == "5"
    assert read_report("popeye", '{"popeye": {"score": "81.5"}}', "x").score == 81.5


def test_control_characters_in_texts_are_let_pass() -> None:
    message = '[{"code": "IST0101", "level": "Error", "message": "a\tb\x01c"}]'
    (found,) = read_report("istioctl", message, "x").findings
    assert found.as_dict("istioctl", "")["message"] == "a\tb\\x01c"


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (tmp_path / "report.json").touch()
    with pytest.raises(ReportError, match=r"report\.json can't be read: Permission denied"):
        read_file(tmp_path / "report.json")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is a directory"):
        read_file(tmp_path)
    with pytest.raises(ReportError, match="does not exist; did the scan run"):
        read_file(tmp_path / "missing")
    with pytest.raises(ReportError, match="not a regular file"):
        read_file(Path("/dev/null"))
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(ReportError, match=r"round can't be read: Too many levels of symbolic links"):
        read_file(tmp_path / "round")
    with pytest.raises(ReportError, match="can't be read: File name too long"):
        read_file(tmp_path / ("x" * 300))
    packed = tmp_path / "report.json.gz"
    packed.write_bytes(gzip.compress(b"[]"))
    assert read_file(packed) == b"[]"
    packed.write_bytes(gzip.compress(json.dumps(list(range(9999))).encode())[:-20])
    with pytest.raises(ReportError, match="broken gzip"):
        read_file(packed)
