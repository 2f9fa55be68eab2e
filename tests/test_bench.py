"""The benches' arithmetic, on what a person can count by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from bench import pages
from bench.browser import PageChange
from bench.driver import mean_batch, phases
from bench.latency import SentEvent, first_seen, per_element, percentile
from bench.mixture import mixture
from bench.notifier_nights import counted
from bench.notifier_storm import ThreadsTold, told
from bench.parity import differences, expected
from bench.processes import cpu_seconds, directory_mb, environment, free_offset, memory_mb
from bench.readers import disagreements
from bench.report import Report
from bench.soak import Questions
from bench.start import bare_environment
from lakehouse import ROOT
from lakehouse import decode as decoding
from lakehouse.decode import Reason, Rejected
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from tests.test_gateway import Published, start_gateway, stop

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)


def test_event_to_pixel_is_the_first_change_at_or_past_the_event() -> None:
    events = [SentEvent("order", 1_000), SentEvent("order", 1_500), SentEvent("order", 9_000)]
    seen = [
        PageChange("tile orders", 900, 1_400),
        PageChange("tile orders", 1_500, 2_500),
        PageChange("tile orders", 1_500, 3_000),
        PageChange("tile orders", 2_000, 3_500),
    ]
    assert per_element(events, seen)["tile orders"] == [1.5, 1.0, math.inf]


def test_an_element_is_only_asked_for_what_it_includes() -> None:
    events = [SentEvent("click", 1_000), SentEvent("failure", 1_000)]
    seen = [PageChange("tile orders", 5_000, 5_100), PageChange("tile users", 5_000, 5_200)]
    found = per_element(events, seen)
    assert found["tile orders"] == []
    assert found["tile users"] == [4.2]
    assert found["list latest_errors"] == [math.inf]
    assert first_seen(events, seen) == [4.2, math.inf]


def test_an_event_is_seen_where_it_is_seen_first() -> None:
    seen = [PageChange("tile conversion", 1_000, 1_900), PageChange("tile users", 1_000, 1_700)]
    assert first_seen([SentEvent("click", 1_000)], seen) == [0.7]


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3, 1, 2, 4], 50) == 2
    assert percentile(range(1, 101), 95) == 95
    assert percentile([7], 99) == 7
    assert math.isnan(percentile([], 95))


def test_a_process_is_measured_by_itself() -> None:
    me = psutil.Process()
    assert (memory_mb(me) or 0) > 5
    assert (cpu_seconds(me) or 0) > 0
    child = subprocess.Popen([sys.executable, "-c", ""])
    gone = psutil.Process(child.pid)
    child.wait()
    assert memory_mb(gone) is None
    assert cpu_seconds(gone) is None


def test_a_directory_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(os.urandom(1_000_000))
    assert 0.99 <= directory_mb(tmp_path) <= 1.1


def test_a_bench_has_a_directory_and_ports_of_its_own(tmp_path: Path) -> None:
    os.environ["TILLWATCH_CONSOLE_REFRESH_S"] = "9"
    try:
        settings = environment(tmp_path, free_offset())
    finally:
        del os.environ["TILLWATCH_CONSOLE_REFRESH_S"]
    assert {name for name in settings if name.startswith("TILLWATCH_")} == {
        "TILLWATCH_DATA_DIR",
        "TILLWATCH_PORT_OFFSET",
        "TILLWATCH_NOTIFIER_STORM_AFTER",
    }


def test_a_clean_start_knows_no_home_no_cache_and_no_environment(tmp_path: Path) -> None:
    variables = bare_environment(tmp_path)
    assert variables["HOME"] == str(tmp_path)
    assert variables["UV_CACHE_DIR"].startswith(str(tmp_path))
    assert variables["PIP_CACHE_DIR"].startswith(str(tmp_path))
    assert "VIRTUAL_ENV" not in variables
    assert str(ROOT / ".venv" / "bin") not in variables["PATH"].split(os.pathsep)


def test_a_mixture_is_the_same_again_and_says_what_becomes_of_each_message() -> None:
    messages = mixture(3000, 7, NOON)
    assert messages == mixture(3000, 7, NOON)
    assert {message.kind for message in messages} == {"good", "late", "ahead", "doubled", "conflict", *Reason}
    for message in messages:
        (found,) = decoding.decode(message.topic, decoding.Message(message.value, NOON), timedelta(days=15))
        assert (str(found.reason) if isinstance(found, Rejected) else "") == (
            message.kind if message.kind in {*Reason} else ""
        )


def test_tables_differ_where_a_row_is_missing_and_dead_letters_that_came_again_do_not() -> None:
    messages = mixture(300, 7, NOON)
    whole = expected(messages, NOON)
    assert differences(whole, expected(messages[:-1], NOON))
    again = whole | {"dead_letters": whole["dead_letters"] + whole["dead_letters"]}
    assert differences(again, whole)
    assert differences(again, whole, delivered_again=True) == []


def test_every_table_has_its_rows_in_what_is_expected() -> None:
    tables = expected(mixture(2000, 7, NOON), NOON)
    assert all(tables.values())
    orders = Counter(row[:1] for row in tables["orders_processed"].elements())
    assert sum(row[2] for row in tables["orders_revenue_per_minute"]) == orders.total()


def test_a_reader_tells_when_a_kpi_is_not_the_sum_of_its_rows() -> None:
    agreed = [(name, 2, 5, 0) for raw in ("orders", "clicks", "errors") for name in (raw, f"{raw} per minute")]
    assert disagreements(tuple(agreed)) == []
    assert len(disagreements((*agreed[1:], ("orders", 3, 5, 0)))) == 1


def test_a_phase_is_its_mean_between_two_looks() -> None:
    name, labels = "tillwatch_ingest_phase_seconds", 'phase="raw"'
    before = {(f"{name}_sum", labels): 1.0, (f"{name}_count", labels): 2.0}
    after = {(f"{name}_sum", labels): 4.0, (f"{name}_count", labels): 8.0}
    assert phases(before, after) == {"raw": 0.5}
    whole = "tillwatch_ingest_batch_seconds"
    assert mean_batch({}, {(f"{whole}_sum", ""): 3.0, (f"{whole}_count", ""): 6.0}) == 0.5


def test_the_page_tells_what_is_worth_knowing_beside_the_promises_and_keeps_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.report.RESULTS", tmp_path)
    for name in ("one", "other"):
        report = Report(name, "by hand")
        report.row("events lost", 0, "", exactly=0)
        report.row("phase publish, mean", 0.0123456, "s", beside=True)
        report.row("events written", 500, "")
        report.finish()
    found = pages.measured(tmp_path)
    lines = "\n".join(found.lines())
    assert [line.split(" | ")[:2] for line in found.promised["one"]] == [["| one: events lost", "0"]]
    assert [line.split(" | ")[:2] for line in found.beside["one"]] == [["| one: phase publish, mean", "0.01235 s"]]
    assert "events written" not in lines
    assert lines.index("one: events lost") < lines.index("Beside the promises") < lines.index("one: phase publish")
    # A page that is read again is the same, and what this machine has not measured stays on it.
    assert pages.written(lines) == found
    (tmp_path / "other.json").unlink()
    assert pages.written(lines).updated(pages.measured(tmp_path)) == found


def test_a_storm_is_counted_from_what_its_messages_say() -> None:
    texts = [
        "FATAL in shop-0001\nFatal error in service: shop-0001\n10 alerts so far · owner platform",
        "Storm: 1,990 incidents open, FATAL in 1,990 services\nno answer\n19,900 alerts so far · shop-0002 10 and more",
        "Resolved: FATAL in shop-0003\nFatal error\nopen for 5 min · 1 alert in all",
    ]
    assert told(texts) == ThreadsTold(1_992, 19_911)


def test_random_schedules_are_counted_over_all_phases() -> None:
    words = "- 10 passing, 0 failing, and 1 invalid\n- 30 passing examples, 2 failing examples, 0 invalid"
    assert counted(words) == (40, 2)


def test_the_command_lists_every_bench() -> None:
    ran = subprocess.run([sys.executable, "-m", "bench"], capture_output=True, text=True, cwd=ROOT, check=True)
    for name in ("live", "start", "hour", "streaming", "plain_job", "stack_kills", "stack_readers", "stack_outages"):
        assert f"\n  {name} " in ran.stdout
    unknown = subprocess.run(
        [sys.executable, "-m", "bench", "none"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert unknown.returncode == 2
    assert "there is no bench 'none'" in unknown.stderr


def test_the_soak_asks_what_the_tabs_ask_those_that_build_on_others_too(tmp_path: Path) -> None:
    Published(tmp_path)
    process, port = start_gateway(tmp_path)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            questions = Questions(dremio)
            questions.round(1.0)
    finally:
        stop(process)
    asked = {"as_of", "tiles", "orders_over_time", "order_rows", "errors_over_time", "error_kinds"}
    assert asked | {"errors_of_services", "error_kinds_over_time"} <= questions.taken.keys()
