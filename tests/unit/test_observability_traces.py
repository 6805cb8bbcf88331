# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spans from an application to what keeps them, by the real programs with the role's configuration."""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from helm import run, tool
from observability import configuration, free_ports, play, releases, running

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PLANTED = "h8nter2xyz"


def ask(url: str, content: dict[str, Any] | None = None) -> str:
    """The answer; nothing where there is none yet."""
    data = json.dumps(content).encode() if content else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def until(condition: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return value


def attributes(**values: str) -> list[dict[str, Any]]:
    return [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in values.items()]


def spans() -> dict[str, Any]:
    """A request that failed at the database, as an application tells it."""
    now = time.time_ns()
    exception = attributes(exception__type="E", exception__message=f"can't log in: password={PLANTED}")
    said = attributes(
        url__full=f"http://ann:{PLANTED}@shop/pay?access_token={PLANTED}&page=2", api_key=PLANTED, http__route="/pay"
    )
    span = {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "POST /pay",
        "kind": 2,
        "startTimeUnixNano": str(now - 30_000_000),
        "endTimeUnixNano": str(now),
        "attributes": said,
        "events": [{"name": "exception", "timeUnixNano": str(now), "attributes": exception}],
        "status": {"code": 2},
    }
    # As a proxy tells it: without an event.
    proxy = {key: span[key] for key in ("traceId", "startTimeUnixNano", "endTimeUnixNano")} | {
        "spanId": SPAN[::-1],
        "parentSpanId": SPAN,
        "name": "proxy",
        "kind": 3,
        "attributes": attributes(http__url=f"http://shop/?access_token={PLANTED}"),
    }
    resource = {"attributes": attributes(service__name="shop", k8s__pod__name="another")}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span, proxy]}]}]}


def requests(count: int, **resource: str) -> dict[str, Any]:
    """As many requests that a pod has answered."""
    now = time.time_ns()
    answered = [
        {
            "traceId": secrets.token_hex(16),
            "spanId": secrets.token_hex(8),
            "name": "GET /list",
            "kind": 2,
            "startTimeUnixNano": str(now - 30_000_000),
            "endTimeUnixNano": str(now),
        }
        for _ in range(count)
    ]
    said = {"attributes": attributes(service__name="shop", **resource)}
    return {"resourceSpans": [{"resource": said, "scopeSpans": [{"spans": answered}]}]}


class Way(NamedTuple):
    """Ports on loopback: where spans go, where traces are asked for, where metrics are."""

    otlp: int
    traces: int
    metrics: int


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return releases(tmp_path_factory.mktemp("role"))


@pytest.fixture(scope="module")
def way(found: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The programs, once a span has been sent."""
    directory = tmp_path_factory.mktemp("way")
    otlp, taken, asked, grpc, metrics = free_ports(5)

    keeps = configuration(found["jaeger"])
    keeps["service"]["extensions"].remove("healthcheckv2")
    del keeps["extensions"]["healthcheckv2"]
    keeps["service"]["telemetry"] = {"metrics": {"level": "none"}}
    places = keeps["extensions"]["jaeger_storage"]["backends"]["badger"]["badger"]["directories"]
    places.update({name: str(directory / name) for name in places})
    keeps["extensions"]["jaeger_query"]["http"]["endpoint"] = f"127.0.0.1:{asked}"
    keeps["extensions"]["jaeger_query"]["grpc"]["endpoint"] = f"127.0.0.1:{grpc}"
    keeps["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{taken}"

    takes = configuration(found["collector"])
    takes["service"]["extensions"] = ["file_storage"]
    takes["service"]["telemetry"] = {"metrics": {"level": "none"}}
    del takes["extensions"]["health_check"]
    storage = takes["extensions"]["file_storage"]
    storage["directory"] = storage["compaction"]["directory"] = str(directory / "collector")
    takes["receivers"] = {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{otlp}"}}}}
    takes["processors"] = {
        name: value for name, value in takes["processors"].items() if not name.startswith("k8s_attributes")
    }
    takes["exporters"]["otlp_grpc/jaeger"]["endpoint"] = f"127.0.0.1:{taken}"
    takes["exporters"]["prometheus"]["endpoint"] = f"127.0.0.1:{metrics}"
    pipelines = {name: takes["service"]["pipelines"][name] for name in ("traces", "metrics/spans")}
    pipelines["traces"]["processors"].remove("k8s_attributes")
    takes["service"]["pipelines"] = pipelines

    for name, config in (("jaeger", keeps), ("collector", takes)):
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(config))
    with (
        running(directory / "jaeger.log", tool("jaeger"), "--config", str(directory / "jaeger.yaml")),
        running(directory / "collector.log", tool("otelcol-contrib"), "--config", str(directory / "collector.yaml")),
    ):
        sent = until(lambda: ask(f"http://127.0.0.1:{otlp}/v1/traces", spans()))
        assert sent, (directory / "collector.log").read_text()[-2000:]
        yield Way(otlp, asked, metrics)


def test_a_trace_is_kept_without_what_is_secret(way: Way) -> None:
    def kept() -> str:
        text = ask(f"http://127.0.0.1:{way.traces}/api/traces/{TRACE}")
        return text if text.count('"operationName"') == 2 else ""

    text = until(kept)
    (trace,) = json.loads(text)["data"]
    span, proxy = sorted(trace["spans"], key=lambda span: str(span["operationName"]))
    assert PLANTED not in text
    said = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert said["url.full"] == "http://ann:[redacted]@shop/pay?access_token=[redacted]&page=2"
    assert said["http.route"] == "/pay"
    assert {"key": "http.url", "type": "string", "value": "http://shop/?access_token=[redacted]"} in proxy["tags"]
    assert "api_key" not in said
    assert "can't log in: password=[redacted]" in text
    # What it says of its pod is not believed.
    assert "another" not in text


def counted(way: Way, name: str) -> list[str]:
    """Lines about spans of a name, as Prometheus gets them."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{way.metrics}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("traces_span_metrics_") and f'span_name="{name}"' in line]


def test_duration_and_errors_are_counted_with_the_trace_they_are_of(way: Way) -> None:
    lines = until(lambda: counted(way, "POST /pay"))
    (calls,) = [line for line in lines if line.startswith("traces_span_metrics_calls_total{")]
    assert 'status_code="STATUS_CODE_ERROR"' in calls
    assert 'service_name="shop"' in calls
    exemplars = [line for line in lines if "_bucket{" in line and f'trace_id="{TRACE}"' in line]
    assert len(exemplars) == 1
    assert "duration_seconds_bucket" in exemplars[0]


def test_spans_of_all_pods_of_a_service_are_counted_together(way: Way) -> None:
    # A proxy says nothing of which it is, an application does.
    pods = [{"host__name": "one"}, {"host__name": "two"}, {"service__instance__id": "three"}]
    for count, pod in enumerate(pods, 1):
        assert ask(f"http://127.0.0.1:{way.otlp}/v1/traces", requests(count, **pod))

    def calls() -> list[str]:
        return [line for line in counted(way, "GET /list") if line.startswith("traces_span_metrics_calls_total{")]

    def together() -> bool:
        return [float(line.rpartition("}")[2].split()[0]) for line in calls()] == [6.0]

    assert until(together), calls()
    assert "one" not in calls()[0]
    assert "three" not in calls()[0]


def test_jaeger_takes_its_configuration(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(found["jaeger"]["values"]["config"]["files"]["config.yaml"])
    run("jaeger", "validate", "--config", str(path))


def test_an_inventory_says_how_long_traces_are_kept(tmp_path: Path) -> None:
    jaeger = releases(tmp_path, observability_traces_hours=6, observability_traces_volume="8Gi")["jaeger"]
    backend = configuration(jaeger)["extensions"]["jaeger_storage"]["backends"]["badger"]["badger"]
    assert backend["ttl"] == {"spans": "6h"}
    assert jaeger["values"]["volumeClaims"]["data"]["size"] == "8Gi"


def traced(trace: str, milliseconds: int, code: int = 0) -> dict[str, Any]:
    """One request of a trace, which took so long; 2 is the code of an error."""
    now = time.time_ns()
    span = {
        "traceId": trace,
        "spanId": secrets.token_hex(8),
        "name": "GET /list",
        "kind": 2,
        "startTimeUnixNano": str(now - milliseconds * 1_000_000),
        "endTimeUnixNano": str(now),
        "status": {"code": code},
    }
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]}


def test_failed_and_slow_traces_are_kept_and_a_share_of_the_others(tmp_path: Path) -> None:
    sampled = {"observability_traces_tail_sampling": True, "observability_traces_wait": 1}
    collector = configuration(releases(tmp_path, observability_traces_others_percent=0, **sampled)["collector"])
    pipelines = collector["service"]["pipelines"]
    # All are counted; what is kept is decided after the last of what changes them.
    assert pipelines["traces"]["exporters"] == ["forward", "span_metrics", "servicegraph"]
    (port,) = free_ports(1)
    kept = tmp_path / "kept.log"
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "processors": {"tail_sampling": collector["processors"]["tail_sampling"]},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "connectors": {"forward": collector["connectors"]["forward"]},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["forward"]},
                "traces/kept": {**pipelines["traces/kept"], "exporters": ["debug"]},
            },
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    failed, slow, fine, late = (secrets.token_hex(16) for _ in range(4))
    with running(kept, tool("otelcol-contrib"), "--config", str(tmp_path / "config.yaml")):
        url = f"http://127.0.0.1:{port}/v1/traces"
        assert until(lambda: ask(url, traced(fine, 20))), kept.read_text()
        assert ask(url, traced(slow, 700))
        assert ask(url, traced(failed, 20, code=2))
        # Its first span would be kept by nobody; what came of it later is why it is.
        assert ask(url, traced(late, 20))
        assert ask(url, traced(late, 20, code=2))
        assert until(lambda: all(kept.read_text().count(trace) for trace in (failed, slow, late))), kept.read_text()
        # Of a trace that was kept, so is what comes when that is decided.
        assert ask(url, traced(failed, 20))
        assert until(lambda: kept.read_text().count(failed) == 2), kept.read_text()
        assert kept.read_text().count(late) == 2
        assert fine not in kept.read_text()


def test_without_sampling_at_the_tail_all_traces_are_kept(found: dict[str, dict[str, Any]]) -> None:
    collector = configuration(found["collector"])
    assert "tail_sampling" not in collector["processors"]
    assert "otlp_grpc/jaeger" in collector["service"]["pipelines"]["traces"]["exporters"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("observability_traces_others_percent", 101), ("observability_traces_slow_ms", 0)],
)
def test_shares_that_mean_nothing_are_refused(tmp_path: Path, name: str, value: int) -> None:
    run = play(tmp_path, observability_traces_tail_sampling=True, **{name: value})
    assert f"{name} is {value}" in run.text
