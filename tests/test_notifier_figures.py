"""What is usual in messages: where it stands, how long a message waits for it, and how often it is asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from lakehouse import ROOT
from lakehouse.dremio.state import ConnectionState
from lakehouse.rules import load_rules
from notifier.attempts import Waits
from notifier.channels import CHANNELS
from notifier.figures import KEPT_S, QUIET_S, UsualFigures
from notifier.manner import TELLS, Manner
from notifier.model import AlertSource, MessageKind
from notifier.render import as_html, as_text
from notifier.sender import Sender
from notifier.slack_dress import blocks_of, text_of
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import cast_of, wait_for
from tests.test_notifier import NOON, STYLE, Desk, Friend, an_alert
from tests.test_routes import router

RULES = load_rules(ROOT / "config" / "alerts.yaml")
MINUTE = timedelta(minutes=1)
EDITS = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5_000)
PATIENT_S = 30.0
"""A deadline that no answer here misses."""


class Shop:
    """A Dremio whose answers can be held back, with an hour of the payments service: two errors a minute."""

    near = False
    state = ConnectionState("up")

    def __init__(self) -> None:
        self.dremio = FakeDremio()
        self.go = threading.Event()
        self.go.set()
        self.now = NOON
        for minute in range(-60, 0):
            for _ in range(2):
                self.dremio.error(NOON + minute * MINUTE)
        self.dremio.publish(NOON + timedelta(seconds=11))

    def head(self) -> str:
        return self.dremio.head()

    def next_head(self, known: str, wait_s: float) -> str:
        return self.dremio.head()

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        assert self.go.wait(60)
        return self.dremio.ask(question, commit=commit, **binds)

    @property
    def asked(self) -> int:
        return self.dremio.asked.count("usual")


@pytest.fixture
def shop() -> Iterator[Shop]:
    opened = Shop()
    yield opened
    opened.go.set()
    opened.dremio.close()


class Clock:
    """Two clocks that the test turns."""

    def __init__(self) -> None:
        self.now = NOON + timedelta(seconds=11)

    def wall_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def monotonic(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def figures_of(shop: Shop, clock: Clock, deadline_s: float = PATIENT_S) -> UsualFigures:
    zone = ZoneInfo("Europe/Berlin")
    return UsualFigures(shop, RULES, zone, "$", clock=clock.wall_ms, monotonic=clock.monotonic, deadline_s=deadline_s)


MANY = an_alert(rule="many_errors", severity="ERROR", threshold=60.0, starts_at=NOON + 2 * MINUTE)


def test_senders_that_ask_at_once_ask_one_question(shop: Shop, clock: Clock) -> None:
    figures = figures_of(shop, clock)
    with ThreadPoolExecutor(8) as senders:
        found = list(senders.map(figures.of, [MANY] * 20))
    assert {one.usual if one else None for one in found} == {2.0}
    assert shop.asked == 1
    figures.of(an_alert(rule="many_errors", incident_id="another"))
    assert shop.asked == 2
    clock.now += timedelta(seconds=KEPT_S + 1)
    figures.of(MANY)
    assert shop.asked == 3
    figures.close()
    assert figures.of(an_alert(rule="many_errors", incident_id="after the end")) is None


def test_what_is_planned_is_asked_for_before_its_message_is_written(shop: Shop, clock: Clock) -> None:
    figures = figures_of(shop, clock)
    begins = an_alert(rule="many_errors")
    figures.expect([begins, begins, an_alert(incident_id="goes on", starts_at=NOON - MINUTE)])
    wait_for(lambda: shop.asked == 1)
    assert figures.of(begins) is not None
    assert shop.asked == 1
    figures.close()


def test_a_message_does_not_wait_for_data_that_does_not_answer(shop: Shop, clock: Clock) -> None:
    figures = figures_of(shop, clock, deadline_s=0.01)
    shop.go.clear()
    assert figures.of(MANY) is None
    other = an_alert(rule="many_errors", incident_id="another")
    assert figures.of(other) is None
    shop.go.set()
    wait_for(lambda: shop.asked == 1)
    assert figures.of(other) is None, "it is not asked for some seconds"
    wait_for(lambda: figures.of(MANY) is not None)
    clock.now += timedelta(seconds=QUIET_S)
    wait_for(lambda: figures.of(other) is not None)
    assert shop.asked == 2
    figures.close()


def test_a_root_that_can_be_edited_goes_at_once_and_what_is_usual_follows(shop: Shop, clock: Clock) -> None:
    late: list[str] = []
    zone = ZoneInfo("Europe/Berlin")
    figures = UsualFigures(
        shop,
        RULES,
        zone,
        "$",
        clock=clock.wall_ms,
        monotonic=clock.monotonic,
        deadline_s=PATIENT_S,
        late=lambda alert: late.append(alert.incident_id),
    )
    shop.go.clear()
    assert figures.of(MANY, brief=True) is None
    assert late == []
    shop.go.set()
    wait_for(lambda: late == [MANY.incident_id])
    found = figures.of(MANY)
    assert found is not None
    assert found.usual == 2.0
    assert shop.asked == 1
    # An edit waits for nothing either, and does not take back what the root has said.
    shop.go.clear()
    clock.now += timedelta(seconds=KEPT_S + 1)
    assert figures.of(MANY, brief=True) == found
    shop.go.set()
    figures.close()


def test_data_that_answers_with_an_error_is_left_alone_for_some_seconds_and_told_once(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    figures = figures_of(shop, clock)
    shop.dremio.down = True
    for number in range(5):
        assert figures.of(an_alert(rule="many_errors", incident_id=f"inc-{number}")) is None
    assert shop.asked == 1
    clock.now += timedelta(seconds=QUIET_S)
    assert figures.of(MANY) is None
    assert shop.asked == 2
    assert sum("do not say what is usual" in record.message for record in caplog.records) == 1
    shop.dremio.down = False
    clock.now += timedelta(seconds=KEPT_S + 1)
    assert figures.of(MANY) is not None
    figures.close()


def test_a_thousand_incidents_at_once_are_not_all_asked_for(shop: Shop, clock: Clock) -> None:
    figures = figures_of(shop, clock)
    shop.go.clear()
    figures.expect(an_alert(rule="many_errors", incident_id=f"inc-{number}") for number in range(1000))
    shop.go.set()
    wait_for(lambda: shop.asked == 16)
    assert figures.of(an_alert(rule="many_errors", incident_id="inc-0")) is not None
    assert shop.asked == 16
    figures.close()


@pytest.mark.parametrize(
    "values",
    [
        {"rule": "taken_out"},
        {"rule": "unreadable_messages"},
        {"rule": "checkout_unused", "service_name": None},
        {"rule": "many_errors", "source": AlertSource.OWN},
    ],
)
def test_an_alert_without_a_figure_asks_nothing(shop: Shop, clock: Clock, values: dict[str, Any]) -> None:
    figures = figures_of(shop, clock)
    assert figures.of(an_alert(**values)) is None
    assert shop.asked == 0
    figures.close()


# --- in messages


class Told:
    """A desk whose messages say what is usual."""

    def __init__(self, path: Path, storm_after: int = 0) -> None:
        channel = Friend(manner=EDITS)
        routes = "routes: [{name: all, to: [slack]}]"
        self.desk = Desk(path, channel, router=router(routes, {"slack": channel.destinations}))
        self.desk.ledger.storm_after = storm_after
        for minute in range(-60, 0):
            for _ in range(2):
                self.desk.dremio.error(NOON + minute * MINUTE)
        self.figures = UsualFigures(
            self.desk.dremio,
            RULES,
            UTC,
            "$",
            clock=self.desk.clock,
            monotonic=self.desk.monotonic,
            deadline_s=PATIENT_S,
        )
        self.desk.sender = Sender(
            channel,
            self.desk.ledger,
            self.desk.metrics,
            STYLE,
            Waits(),
            clock=self.desk.clock,
            monotonic=self.desk.monotonic,
            with_figure=self.figures.onto,
        )

    def errors(self, count: int, at: datetime) -> None:
        for _ in range(count):
            self.desk.dremio.error(at)

    def many(self, incident: str = "many", **values: Any) -> None:
        self.desk.fatal(
            incident, rule="many_errors", severity="ERROR", threshold=60.0, starts_at=NOON + 2 * MINUTE, **values
        )

    def close(self) -> None:
        self.figures.close()
        self.desk.close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    opened = Told(tmp_path)
    yield opened
    opened.close()


def test_the_root_its_edits_and_the_end_say_what_is_usual(told: Told) -> None:
    desk = told.desk
    told.errors(82, NOON)
    told.errors(82, NOON + MINUTE)
    desk.now = NOON + 2 * MINUTE + timedelta(seconds=11)
    told.many()
    desk.publish()
    [root] = desk.channel.posts
    assert root.usual == "82 errors a minute, limit 60, usually 2; 160 more than usual since 12:00"
    assert root.bars == "▂" * 28 + "██"
    for shown in (text_of(root), str(blocks_of(root)), as_text(root), as_html(root)):
        assert root.usual in shown
        assert root.bars in shown
    for name, declared in CHANNELS.items():
        shown = json.dumps(declared.show(root), ensure_ascii=False)
        assert root.usual in shown, name
        assert root.bars in shown, name

    told.errors(200, NOON + 2 * MINUTE)
    desk.now = NOON + 3 * MINUTE + timedelta(seconds=11)
    desk.fatal("other")
    desk.publish()
    desk.run(timedelta(seconds=6))
    reply, edit = desk.channel.posts[1:]
    assert (reply.kind, reply.usual, reply.bars) == (MessageKind.JOINED, "", "")
    assert edit.edits
    assert "0 fatal errors" in edit.usual
    desk.resolved("other")
    desk.publish()
    desk.run(timedelta(seconds=6))
    cleared, edit = desk.channel.posts[3:]
    assert (cleared.kind, cleared.usual) == (MessageKind.CLEARED, "")
    assert edit.usual == "200 errors a minute, limit 60, usually 2; 358 more than usual since 12:00", "of what is open"

    desk.now = NOON + 8 * MINUTE + timedelta(seconds=11)
    told.many(status="RESOLVED", alert_timestamp=NOON + 8 * MINUTE)
    desk.publish()
    desk.run(timedelta(seconds=6))
    end, edit = desk.channel.posts[5:]
    # It was inside for 5 minutes before.
    assert (end.kind, end.usual) == (MessageKind.RESOLVED, "358 errors more than usual in all")
    assert edit.usual == end.usual
    assert edit.bars == end.bars
    assert end.bars[-3:] == "▄▄█"


def test_without_a_history_a_message_says_so_and_goes(told: Told) -> None:
    told.desk.fatal("inc-1", service="search")
    told.desk.fatal("inc-2", rule="taken_out", service="mail")
    told.desk.dremio.broken.add("usual")
    told.desk.publish()
    assert [(post.usual, post.bars) for post in told.desk.channel.posts] == [("usual: n/a", "")] * 2


def test_a_digest_of_a_storm_says_nothing_of_what_is_usual(tmp_path: Path) -> None:
    told = Told(tmp_path, storm_after=1)
    told.desk.fatal("first", service="payments")
    for number in range(5):
        told.desk.fatal(f"inc-{number}", service=f"service-{number}")
    told.desk.publish()
    told.desk.run(timedelta(seconds=10))
    digests = [post for post in told.desk.channel.posts if post.title.startswith("Storm")]
    assert digests
    assert {(post.usual, post.bars) for post in digests} == {("", "")}
    told.close()


def test_the_daemon_tells_what_is_usual(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with cast_of(tmp_path / "data") as cast:
        for minute in range(60):
            cast.dremio.error(now - minute * MINUTE, "FATAL")
        cast.dremio.alert(now, "inc-1")
        cast.dremio.publish(now)
        cast.start("embedded.sandbox")
        cast.start("notifier")
        wait_for(lambda: cast.slack() and cast.email())
        [post], [mail] = cast.slack(), cast.email()
        for text in (post["text"], mail["body"]):
            assert "usually 1 fatal error a minute" in text
            assert "█" * 30 in text
