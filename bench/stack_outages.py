"""Kafka, Nessie and S3 each stopped for a minute while shoppers shop: nothing lost, no false alert, no hand needed.

Beside the rules that come with the product two judge as hastily as rules may: whoever judged by the clock, and not by
what was read, would find a minute without clicks, or with too few of them. Once the shoppers are gone both alert.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bench.pipelines import HASTY, Stack, rule, with_rules
from bench.processes import free_offset
from bench.readers import disagreements, fingerprint, lost, shoppers
from bench.report import Report
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.settings.ports import PORTS

NAMES = ("nessie", "s3", "kafka")
"""Kafka last: the minutes while it was away, and two more, are judged by no rule."""
_RECOVERS_WITHIN_S = 180
_SILENCE_TOLD_WITHIN_S = 400
_NONE, _FEW = "a_minute_without_clicks", "a_minute_with_few_clicks"
_FEWER = 0.6
"""Clicks of a minute, as part of all its events: shoppers make 0.9, and a minute that an outage cut off has less."""
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{.*\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass
class ServerOutage:
    """One server's. `recovered_s`: from its start to a publish that holds all up to then; `age_s` and `lag`: the most
    that the metrics page showed, in seconds and messages; `restarts` of the driver."""

    server: str
    recovered_s: float = 0.0
    age_s: float = 0.0
    lag: float = 0.0
    restarts: int = 0


@dataclass
class OutagesSeen:
    """All of them, and what must not be."""

    outages: list[ServerOutage] = field(default_factory=list)
    sent: int = 0
    problems: list[str] = field(default_factory=list)


def hasty(folder: Path, rate: float) -> dict[str, str]:
    """Settings with two more rules: they tell of a minute without clicks, or with too few of them at this rate."""
    shipped = yaml.safe_load((ROOT / "config" / "alerts.yaml").read_text(encoding="utf-8"))["rules"]
    few = {"table": "clicks_per_minute", "column": "clicks", "aggregate": "sum", "by": [], "below": _FEWER * rate * 60}
    return with_rules(
        folder,
        *shipped,
        rule(_NONE, "no_data", topic="clicks_topic", **HASTY),
        rule(_FEW, "threshold", **few, **HASTY),
    )


def run(pipeline: Stack, names: Sequence[str], seconds: float, rate: float, silence: bool = True) -> OutagesSeen:
    """Stop each named server for so long while shoppers send; at the end everything is in.

    With `silence`: what the rules of `hasty` tell once the shoppers are gone, which takes some minutes.
    """
    found = OutagesSeen()
    with pipeline.kept_running() as codes:
        with shoppers(pipeline, rate):
            _wait_past(pipeline, datetime.now(UTC))
            for name in names:
                found.outages.append(_stop_for(pipeline, name, seconds, codes))
            ended = datetime.now(UTC)
        pipeline.wait_until_read()
        commit = pipeline.dremio.head()
        found.problems += disagreements(fingerprint(pipeline.dremio, commit)) + lost(pipeline)
        if silence:
            found.problems += _silence(pipeline, ended)
        found.problems += _false_alerts(pipeline, ended)
        found.sent = sum(pipeline.log_ends().values())
        said = (pipeline.data_dir / "shoppers.log").read_text(encoding="utf-8")
        if not re.search(rf"\b{found.sent:,} events\b", said):
            found.problems.append(f"{found.sent:,} messages are in the log, but the shoppers say: {said.strip()}")
    if code := pipeline.stop_engine():
        found.problems.append(f"the driver ended with {code} on SIGTERM")
    return found


def _stop_for(pipeline: Stack, name: str, seconds: float, codes: list[int]) -> ServerOutage:
    outage, ended_before = ServerOutage(name), len(codes)
    pipeline.servers.stop(name)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _look(pipeline, outage)
        time.sleep(0.5)
    pipeline.servers.start(name)
    began = time.monotonic()
    _wait_past(pipeline, datetime.now(UTC), outage)
    outage.recovered_s = time.monotonic() - began
    outage.restarts = len(codes) - ended_before
    return outage


def _wait_past(pipeline: Stack, moment: datetime, outage: ServerOutage | None = None) -> None:
    """Until a publish holds all that came before a moment. Raises TimeoutError."""
    deadline = time.monotonic() + _RECOVERS_WITHIN_S
    while True:
        if outage is not None:
            _look(pipeline, outage)
        with contextlib.suppress(DremioError):
            as_of = pipeline.dremio.ask("as_of")["as_of"][0].as_py()
            if as_of is not None and as_of >= moment:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing past {moment:%H:%M:%S} is in:\n{pipeline.last_words()}")
        time.sleep(0.2)


def _look(pipeline: Stack, outage: ServerOutage) -> None:
    """What the driver's metrics page shows now; nothing while it is down."""
    figures = metrics(pipeline)
    outage.lag = max(outage.lag, sum(figures.get("tillwatch_ingest_lag", [])))
    if as_of := figures.get("tillwatch_ingest_as_of_seconds"):
        outage.age_s = max(outage.age_s, time.time() - as_of[0] if as_of[0] else 0.0)


def metrics(pipeline: Stack) -> dict[str, list[float]]:
    """The driver's metrics page, now: name -> the values of all its labels; empty while it is down."""
    url = f"http://127.0.0.1:{PORTS['ingest'] + pipeline.port_offset}/metrics"
    found: dict[str, list[float]] = {}
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        for sample in _SAMPLE.finditer(answer.read().decode()):
            found.setdefault(sample["name"], []).append(float(sample["value"]))
    return found


def _false_alerts(pipeline: Stack, ended: datetime) -> list[str]:
    """Alerts of minutes in which shoppers were there, but for those of FATAL events: there is nothing else to tell."""
    try:
        rows = _alerts(pipeline)
    except DremioError as error:
        return [str(error)]
    return [
        f"false alert {row['rule']} at {row['ended']:%H:%M}"
        for row in rows
        if row["ended"] <= ended and row["rule"] != "fatal_error"
    ]


def _silence(pipeline: Stack, ended: datetime) -> list[str]:
    """The rules that do not tell that the shoppers are gone."""
    deadline = time.monotonic() + _SILENCE_TOLD_WITHIN_S
    left = {_NONE, _FEW}
    while left and time.monotonic() < deadline:
        time.sleep(1)
        with contextlib.suppress(DremioError):
            left -= {row["rule"] for row in _alerts(pipeline) if row["ended"] > ended}
    return [f"the rule {name} does not tell that the shoppers are gone" for name in sorted(left)]


def _alerts(pipeline: Stack) -> list[Mapping[str, Any]]:
    """The rule of each alert, and the end of the minute that it tells of."""
    rows: list[Mapping[str, Any]] = pipeline.dremio.sql(
        fill("SELECT rule, alert_timestamp AS ended FROM {alerts} WHERE status = 'FIRING'", None, {})
    ).to_pylist()
    return rows


def main() -> None:
    """`python -m bench stack_outages`."""
    parser = argparse.ArgumentParser(prog="bench stack_outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each outage (60)")
    parser.add_argument("--rate", type=float, default=100, help="events/s (100)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder,
        Servers(Path(folder) / "servers", free_offset()) as servers,
        Stack(servers, Path(folder) / "stack", hasty(Path(folder) / "config", arguments.rate)) as pipeline,
    ):
        found = run(pipeline, NAMES, arguments.seconds, arguments.rate)
    report = Report("stack_outages", f"{arguments.rate:g} events/s, each server stopped for {arguments.seconds:g} s")
    for outage in found.outages:
        report.row(f"{outage.server}: until all is in again", outage.recovered_s, "s")
        report.row(f"{outage.server}: age of the data that was shown, at most", outage.age_s, "s")
        # How far Kafka's log reaches nobody can tell while Kafka is away.
        least = None if outage.server == "kafka" else 1
        report.row(f"{outage.server}: lag that was shown, at most", outage.lag, "messages", at_least=least)
        report.row(f"{outage.server}: restarts of the driver", outage.restarts, "")
    report.row("messages sent", found.sent, "")
    report.row("violations found", len(found.problems), "", exactly=0)
    for sentence in found.problems[:20]:
        print(sentence)
    report.finish()


if __name__ == "__main__":
    main()
