# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks as a task gives them, and what is wrong with them."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import (
    ArgumentError,
    CheckArguments,
    HttpArguments,
    KubernetesArguments,
    read_checks,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.expectations import Expectation
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Target
from local_server import make_authority

URL = {"name": "website", "url": "http://website.localhost:8080/"}


def read(**check: Any) -> CheckArguments:
    (one,) = read_checks([check], 10.0, 60.0)
    return one


def http(**check: Any) -> HttpArguments:
    what = read(**URL | check).what
    assert isinstance(what, HttpArguments)
    return what


def problems(*checks: Any) -> list[str]:
    with pytest.raises(ArgumentError) as caught:
        read_checks(checks, 10.0, 60.0)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


class TestHttp:
    def test_defaults(self) -> None:
        check = read(**URL)
        assert (check.name, check.timeout, check.deadline) == ("website", 10.0, 60.0)
        what = http()
        assert (what.request.method, what.request.body, what.expected.statuses) == ("GET", None, (200,))
        assert what.only_reads
        assert what.secrets == ()

    def test_numbers_may_be_texts(self) -> None:
        """Values out of templates may be."""
        check = read(**URL, timeout="2.5", deadline="0", status="204", max_time="1")
        assert (check.timeout, check.deadline) == (2.5, 0)
        assert isinstance(check.what, HttpArguments)
        assert (check.what.expected.statuses, check.what.expected.max_time) == ((204,), 1.0)

    def test_all_that_is_expected(self) -> None:
        expected = http(
            status=[200, "301"],
            response_headers={"Content-Type": {"contains": "json"}, "X-Count": 3},
            values=[{"query": "a.b", "gte": "1"}, {"query": "length(@)"}],
            contains=["a", "b"],
            matches="^a+$",
        ).expected
        assert expected.statuses == (200, 301)
        assert expected.headers == {
            "content-type": Expectation({"contains": "json"}),
            "x-count": Expectation({"equals": "3"}),
        }
        assert [(query.text, query.expectation.operators) for query in expected.queries] == [
            ("a.b", {"gte": 1.0}),
            ("length(@)", {}),
        ]
        assert expected.contains == ("a", "b")
        assert [pattern.pattern for pattern in expected.matches] == ["^a+$"]

    def test_json_body_says_its_type(self) -> None:
        request = http(method="POST", json={"symbol": "ACME"}).request
        assert (request.method, request.body) == ("POST", b'{"symbol": "ACME"}')
        assert request.headers == {"Content-Type": "application/json"}
        assert http(json=[], headers={"content-type": "text/x"}).request.headers == {"content-type": "text/x"}
        assert not http(method="POST").only_reads

    def test_password_is_read_and_kept_secret(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("pä:ss word \n", encoding="utf-8")
        what = http(username="me", password_file=str(tmp_path / "password"), headers={"X-API-Key": "key"})
        encoded = base64.b64encode("me:pä:ss word ".encode()).decode()
        assert what.request.headers["Authorization"] == f"Basic {encoded}"
        assert set(what.secrets) == {"key", "pä:ss word ", encoded}

    def test_that_are_empty_are_none(self, tmp_path: Path) -> None:
        """Whoever hides an empty text hides something between every two letters."""
        password = tmp_path / "password"
        password.write_text("\n", encoding="utf-8")
        what = http(username="jo", password_file=str(password), headers={"X-Token": ""})
        assert what.secrets == (base64.b64encode(b"jo:").decode(),)

    def test_tls(self, tmp_path: Path) -> None:
        authority = make_authority(tmp_path)
        own = {"client_cert": str(authority.certificate), "client_key": str(authority.key)}
        context = http(url="https://a.localhost", ca_path=str(authority.ca), **own).request.tls
        assert context is not None
        assert len(context.get_ca_certs()) == 1
        unchecked = http(url="https://a.localhost", validate_certs="no").request.tls
        assert unchecked is not None
        assert unchecked.verify_mode is ssl.CERT_NONE
        assert http(ca_path=str(authority.ca)).request.tls is None
        redirected = http(ca_path=str(authority.ca), follow_redirects=True).request.tls
        assert redirected is not None
        assert len(redirected.get_ca_certs()) == 1

    def test_address_is_encoded(self) -> None:
        assert http(url="http://a/ü%20b?q=ä#part").request.url == "http://a/%C3%BC%20b?q=%C3%A4"

    def test_behind(self) -> None:
        one = {"kind": "Deployment", "namespace": "apps", "name": "front-end"}
        target = Target("Deployment", "apps/v1", "apps", "front-end")
        assert http(behind=one).behind == (target,)
        assert http(behind=[one, one]).behind == (target, target)

    def test_null_is_a_value_too(self) -> None:
        queries = http(values=[{"query": "a", "equals": None}, {"query": "b"}]).expected.queries
        assert [query.expectation.operators for query in queries] == [{"equals": None}, {}]

    def test_a_text_is_not_cut_at_commas(self) -> None:
        assert http(contains="a, b", matches="^a{1,3}$").expected.contains == ("a, b",)


class TestKubernetes:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"kind": "Node", "minimum": "3"}, KubernetesArguments(Target("Node", "v1"), minimum=3)),
            (
                {"kind": "Pod", "namespace": "a", "label_selector": "x=y", "condition": "Ready"},
                KubernetesArguments(Target("Pod", "v1", "a", None, "x=y"), "Ready"),
            ),
            (
                {"kind": "Gateway", "api_version": "g.io/v1", "name": "g", "condition": "C", "condition_status": False},
                KubernetesArguments(Target("Gateway", "g.io/v1", None, "g"), "C", "False"),
            ),
        ],
    )
    def test_conditions(self, given: dict[str, Any], expected: KubernetesArguments) -> None:
        assert read(name="x", kubernetes=given).what == expected


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ({"url": "http://a"}, "checks[0]: missing required arguments: name"),
        ({"name": "a"}, "checks[0]: one of the following is required: url, kubernetes"),
        (URL | {"stats": 200}, "checks[0]: unknown: stats. Supported "),
        (URL | {"url": "ftp://a"}, "checks[0].url: 'ftp://a' is not an address of http or https"),
        (URL | {"url": "http://a:99999"}, "checks[0].url: 'http://a:99999': Port out of range 0-65535"),
        (URL | {"url": "http://a b"}, "checks[0].url: 'http://a b' has a space or a control character"),
        (
            URL | {"url": "http://me:secret@a"},
            "checks[0].url: holds a user; use username and password_file, which are not shown",
        ),
        (
            URL | {"status": "abc"},
            "checks[0]: Elements value for option 'status' is of type str",
        ),
        (URL | {"status": [200, True]}, "checks[0].status: True is not an HTTP status, a number from 100 to 599"),
        (URL | {"status": []}, "checks[0].status: is an empty list"),
        (URL | {"timeout": 0}, "checks[0].timeout: 0 is not a number from 0.1 to 86400"),
        (
            URL | {"deadline": "soon"},
            "checks[0]: argument 'deadline' is of type str",
        ),
        (URL | {"max_time": 0}, "checks[0].max_time: 0 is not a number from 0.001 to 86400"),
        (URL | {"deadline": "nan"}, "checks[0].deadline: nan is not a number from 0 to 86400"),
        (URL | {"method": "GETT"}, "checks[0]: value of method must be one of: GET, HEAD, "),
        (
            URL | {"validate_certs": "maybe"},
            "checks[0]: argument 'validate_certs' is of type str",
        ),
        (
            URL | {"headers": ["a"]},
            "checks[0]: argument 'headers' is of type list",
        ),
        (URL | {"headers": {"A B": "x"}}, "checks[0].headers.A B: is not a header's name"),
        (URL | {"headers": {"A": "x\r\nB: y"}}, "checks[0].headers.A: has a line break or a character outside ASCII"),
        (URL | {"headers": {"A": None}}, "checks[0].headers.A: null is not a text"),
        (URL | {"body": "a", "json": {}}, "checks[0]: parameters are mutually exclusive: body|json"),
        (URL | {"username": "me"}, "checks[0]: parameters are required together: username, password_file"),
        (URL | {"ca_path": "/nowhere"}, "checks[0].ca_path: /nowhere: no such file"),
        (URL | {"contains": 1}, "checks[0].contains: 1 is not a text, or empty"),
        (
            URL | {"matches": ["a", "("]},
            "checks[0].matches: '(' is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (URL | {"matches": "a{99999999999}"}, "checks[0].matches: 'a{99999999999}' is not a regular expression: "),
        (URL | {"values": [{"query": '"\\ud'}]}, "checks[0].values[0].query: "),
        (URL | {"body": "\ud800"}, "checks[0].body: can't be sent as UTF-8: surrogates not allowed at position 0"),
        (URL | {"url": "http://a/\ud800"}, "checks[0].url: "),
        (URL | {"values": {}}, "checks[0]: argument 'values' is of type dict"),
        (URL | {"values": [{"equals": 1}]}, "checks[0]: missing required arguments: query found in values"),
        (
            URL | {"values": [{"query": "a", "gt": "x"}]},
            "checks[0]: argument 'gt' is of type str found in 'values'.",
        ),
        (
            URL | {"values": [{"query": "a", "equal": 1}]},
            "checks[0]: unknown: values.equal. Supported ",
        ),
        (
            URL | {"response_headers": {"a": {"equal": 1}}},
            "checks[0].response_headers.a: unknown: equal. Supported ",
        ),
        (
            URL | {"response_headers": {"a": None}},
            "checks[0].response_headers.a: null is neither a text nor a mapping of operators",
        ),
        (URL | {"behind": {"kind": "Deployment"}}, "checks[0]: missing required arguments: name found in behind"),
        (
            URL | {"behind": [{"kind": "Pod", "nam": "a"}]},
            "checks[0]: unknown: behind.nam. Supported ",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Node"}, "contains": "x"},
            "checks[0]: missing parameter(s) required by 'contains': url",
        ),
        (URL | {"kubernetes": {"kind": "Node"}}, "checks[0]: parameters are mutually exclusive: url|kubernetes"),
        ({"name": "a", "kubernetes": {}}, "checks[0]: missing required arguments: kind found in kubernetes"),
        (
            {"name": "a", "kubernetes": {"kind": "Pod", "values": [{"query": "a"}, {"query": "a["}]}},
            "checks[0].kubernetes.values[1].query: 'a[' is not JMESPath: ",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Deploymnt"}},
            "checks[0].kubernetes.api_version: is missing, and that of kind Deploymnt is not known; did",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Pod", "name": "x", "label_selector": "y"}},
            "checks[0]: parameters are mutually exclusive: name|label_selector found in kubernetes",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Pod", "condition_status": "True"}},
            "checks[0]: missing parameter(s) required by 'condition_status': condition found in kubernetes",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Pod", "condition": "R", "condition_status": "yes"}},
            "checks[0]: value of condition_status must be one of: True, False, Unknown, got: yes found in kubernetes",
        ),
        (
            {"name": "a", "kubernetes": {"kind": "Pod", "minimum": 1.5}},
            "checks[0]: argument 'minimum' is of type float found in 'kubernetes'.",
        ),
    ],
)
def test_what_is_wrong_is_named(check: Any, problem: str) -> None:
    found = problems(check)
    assert [line for line in found if line.startswith(problem)], found


def test_everything_wrong_is_named_at_once() -> None:
    found = problems(URL, URL | {"status": 1}, {"name": "b", "url": "x", "body": "ü", "contains": ""})
    assert found == [
        "checks[1].status: 1 is not an HTTP status, a number from 100 to 599",
        "checks[2].url: 'x' is not an address of http or https",
        'checks[2].contains: "" is not a text, or empty',
        "checks[1].name: 'website' is the name of checks[0], too",
    ]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate", encoding="utf-8")
    secure = URL | {"url": "https://a"}
    assert problems(secure | {"ca_path": str(text)})[0].startswith(f"checks[0].ca_path: {text}: can't be used: ")
    found = problems(secure | {"client_cert": str(text)})
    assert found[0].startswith(f"checks[0].client_cert: {text}: can't be used: ")
    text.write_bytes(b"\xff")
    assert problems(URL | {"username": "me", "password_file": str(text)}) == [
        f"checks[0].password_file: {text}: is not UTF-8"
    ]


def test_an_expression_that_is_none_is_named() -> None:
    (found,) = problems(URL | {"values": [{"query": "a["}]})
    assert found.startswith("checks[0].values[0].query: 'a[' is not JMESPath: ")
    assert "\n" not in found
