"""Rejected messages are shown, corrected and sent again; however often, each is stored once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse.events import Reason
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers import dead_letters, letters_command
from producers.__main__ import app
from producers.dead_letters import Chosen, Letter
from producers.pace import SystemClock
from tests.conftest import NOON, Shop
from tests.fake_dremio import FakeDremio

NEVER = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def rejecting(shop: Shop) -> Shop:
    """A good order at offset 0; then one with too few pieces, text, other bytes, a tombstone, one from tomorrow."""
    shop.order()
    shop.order(order_id="o-7", quantity=0, price=10.10, note="ä")
    shop.message("orders_topic", b'{"order_id": broken')
    shop.message("orders_topic", b"\xff\xfe")
    shop.message("orders_topic", None)
    shop.order(shop.now + timedelta(hours=1), order_id="o-8", event_id="early")
    shop.error(severity="PANIC")
    shop.publish()
    return shop


def asked(shop: Shop) -> FakeDremio:
    """The shop's dead letters, as Dremio gives them."""
    dremio = FakeDremio()
    for row in shop.rows("dead_letters"):
        dremio.insert("dead_letters", **row)
    return dremio


def chosen(**which: Any) -> Chosen:
    return Chosen(NOON - timedelta(hours=1), NOON + timedelta(hours=1), **which)


def send(shop: Shop, messages: list[dead_letters.Again]) -> list[str]:
    """Send them to the shop and ingest; why the others were left out."""
    good, bad = dead_letters.judged(messages, shop.now, timedelta(days=15))
    dead_letters.send(good, shop.sink, SystemClock(), Stop())
    shop.publish()
    return [f"{message.id} {why.reason}" for message, why in bad]


def test_letters_are_counted_and_read_by_what_they_say(rejecting: Shop) -> None:
    dremio = asked(rejecting)
    counts = dead_letters.counted(dremio, chosen())
    assert {(row["topic"], row["reason"]): row["letters"] for row in counts} == {
        ("orders_topic", "BAD_VALUE"): 1,
        ("errors_topic", "BAD_VALUE"): 1,
        ("orders_topic", "NOT_JSON"): 2,
        ("orders_topic", "EMPTY"): 1,
        ("orders_topic", "FUTURE_TIME"): 1,
    }
    assert [letter.id for letter in dead_letters.newest(dremio, chosen(topics=("errors_topic",)), 9)] == [
        "errors_topic:0:0"
    ]
    assert [letter.offset for letter in dead_letters.every(dremio, chosen(reasons=(Reason.NOT_JSON,)))] == [2, 3]
    assert dead_letters.counted(dremio, Chosen(NEVER, NEVER)) == []


def test_a_corrected_letter_is_stored_once_however_often_it_is_sent(rejecting: Shop) -> None:
    (letter,) = dead_letters.by_id(asked(rejecting), ["orders_topic:0:1"])
    line = dead_letters.line(letter)
    assert '"price":10.1,' in line.replace(" ", ""), "digits are kept"
    document = json.loads(line)
    document["event"]["quantity"] = 3
    for text in (json.dumps(document), json.dumps(document, indent=2)):  # as an editor leaves it, or jq
        assert send(rejecting, list(dead_letters.corrected(text, "letters.jsonl"))) == []
        orders = {row["order_id"]: row for row in rejecting.rows("orders_processed")}
        assert orders["o-7"]["quantity"] == 3
        assert orders["o-7"]["event_key"] == letter.event_id
        assert len(orders) == 2
    assert len(rejecting.rows("dead_letters")) == 6


def test_a_letter_is_sent_as_it_was_once_its_time_has_come(rejecting: Shop) -> None:
    letters = dead_letters.every(asked(rejecting), chosen(reasons=(Reason.FUTURE_TIME,)))
    again = [dead_letters.as_it_was(letter) for letter in letters]
    assert send(rejecting, again) == ["orders_topic:0:5 FUTURE_TIME"]
    rejecting.pass_time(timedelta(hours=1))
    for _ in range(2):
        assert send(rejecting, again) == []
        assert [row["event_key"] for row in rejecting.rows("orders_processed")].count("early") == 1


def test_what_would_be_rejected_once_more_is_not_sent(rejecting: Shop) -> None:
    letters = dead_letters.every(asked(rejecting), chosen())
    bad = send(rejecting, [dead_letters.as_it_was(letter) for letter in letters])
    assert len(bad) == 6
    assert len(rejecting.rows("dead_letters")) == 6


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (b'{"a": NaN}', {"payload": '{"a": NaN}'}),
        (b"\xff\xfe", {"payload_base64": "//4="}),
        (None, {"payload": None}),
        (b'{"a":\n 1}', {"event": {"a": 1}}),
        (b"[1]", {"payload": "[1]"}),
        (b"", {"payload": ""}),
    ],
)
def test_every_payload_has_a_line_and_comes_back_from_it(payload: bytes | None, kept: dict[str, Any]) -> None:
    letter = Letter("orders_topic", 2, 17, NOON, "NOT_JSON", "why", payload)
    line = dead_letters.line(letter)
    assert "\n" not in line
    document = json.loads(line)
    assert document["dead_letter"] == "orders_topic:2:17"
    assert {key: document[key] for key in kept} == kept
    (again,) = dead_letters.corrected(line, "letters.jsonl")
    if "event" in kept:
        assert json.loads(again.payload or b"") == {"a": 1, "event_id": letter.event_id}
        assert again == dead_letters.as_it_was(letter)
    else:
        assert again.payload == payload


def test_the_same_bytes_are_the_same_event_wherever_they_came() -> None:
    first = Letter("orders_topic", 0, 1, NOON, "BAD_VALUE", "", b"{}")
    assert first.event_id == Letter("orders_topic", 3, 9, NOON, "STALE_TIME", "", b"{}").event_id
    assert first.event_id != Letter("clicks_topic", 0, 1, NOON, "BAD_VALUE", "", b"{}").event_id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('\n{"dead_letter": "orders_topic:0:1", "event_id": "x", "event": {}}\n{', "letters.jsonl, line 3: "),
        ('{"order_id": 1}', "missing required field `dead_letter`"),
        ('{"dead_letter": "orders:0:1", "event_id": "x"}', "'orders:0:1' names no dead letter"),
        ('{"dead_letter": "orders_topic:0:1", "event_id": "x", "payload": 5}', "letters.jsonl, line 1: "),
        (
            '{"dead_letter": "orders_topic:0:1", "event_id": "x", "event": {"price": 1, "price": 2}}',
            "line 1: .*'price' stands there twice",
        ),
        (
            '{"dead_letter": "orders_topic:0:1", "event_id": "x", "event": {}, "payload": "{}"}',
            "line 1: .*event and payload are both there",
        ),
    ],
)
def test_a_file_that_is_not_right_is_refused_by_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        list(dead_letters.corrected(text, "letters.jsonl"))


def test_two_corrections_of_one_event_are_refused_and_the_same_one_twice_is_not(rejecting: Shop) -> None:
    (letter,) = dead_letters.by_id(asked(rejecting), ["orders_topic:0:1"])
    document = json.loads(dead_letters.line(letter))
    texts = []
    for quantity in (3, 4):
        document["event"]["quantity"] = quantity
        texts.append(json.dumps(document))
    dead_letters.refuse_two(dead_letters.corrected(texts[0] * 2, "letters.jsonl"))
    with pytest.raises(UserError, match=r"orders_topic:0:1 and orders_topic:0:1 have the event_id .* only one"):
        dead_letters.refuse_two(dead_letters.corrected("\n".join(texts), "letters.jsonl"))


def test_a_letter_that_is_not_there_is_named(rejecting: Shop) -> None:
    with pytest.raises(UserError, match="no dead letter orders_topic:0:99"):
        dead_letters.by_id(asked(rejecting), ["orders_topic:0:1", "orders_topic:0:99"])
    with pytest.raises(UserError, match=r"'17' names no dead letter; expected TOPIC:PARTITION:OFFSET"):
        dead_letters.by_id(asked(rejecting), ["17"])


def test_more_letters_than_one_command_holds_are_refused(rejecting: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MOST", 3)
    with pytest.raises(UserError, match="Over 3 dead letters are chosen"):
        dead_letters.every(asked(rejecting), chosen())


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop of this moment, for the command looks at the clock: one order with too few pieces, one text."""
    shop = Shop(tmp_path / "data")
    shop.now = datetime.now(UTC)
    shop.order(order_id="o-7", quantity=0)
    shop.message("orders_topic", b"text")
    shop.publish()
    (tmp_path / "data" / "profile").write_text("embedded\n")
    dremio = asked(shop)
    monkeypatch.setattr(FakeDremio, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(FakeDremio, "__exit__", lambda *_: None, raising=False)
    monkeypatch.setattr(letters_command, "Dremio", lambda _settings: dremio)
    monkeypatch.setattr(Stop, "on_signals", Stop)
    yield shop
    shop.close()


def run(*words: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dead-letters", *words], input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_list_has_what_a_clock_ahead_received(today: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    today.pass_time(timedelta(days=20))
    today.click(datetime.now(UTC))
    today.publish()
    letters = asked(today)
    monkeypatch.setattr(letters_command, "Dremio", lambda _settings: letters)
    code, listed = run("list", "--reason", "STALE_TIME")
    assert (code, listed.partition("\n")[0]) == (0, "1 dead letters of the last 1d:")


def test_from_the_list_over_an_editor_back_into_the_tables(today: Shop, tmp_path: Path) -> None:
    code, listed = run("list")
    assert code == 0
    assert listed.startswith("2 dead letters of the last 1d:\n")
    assert "orders_topic:0:0" in listed
    assert "quantity is 0" in listed
    code, shown = run("show", "--reason", "BAD_VALUE")
    corrected = shown.replace('"quantity": 0', '"quantity": 4')
    assert corrected != shown
    file = tmp_path / "letters.jsonl"
    file.write_text(corrected)
    assert run("replay", "--file", str(file), "--check") == (0, "1 of 1 dead letters would be sent\n")
    for source in (str(file), "-"):
        code, said = run("replay", "--file", source, text=corrected)
        assert (code, said) == (0, "Delivered to log: orders_topic 1\n1 of 1 dead letters sent again\n")
        today.publish()
        assert [row["quantity"] for row in today.rows("orders_processed")] == [4]


def test_a_replay_in_part_says_what_was_left_out_and_fails(today: Shop) -> None:
    code, said = run("replay", "orders_topic:0:0", "orders_topic:0:1")
    assert code == 1
    assert "orders_topic:0:0 would be rejected again: BAD_VALUE quantity is 0" in said
    assert said.endswith("0 of 2 dead letters sent again\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["replay"], "Say which letters"),
        (["replay", "--file", "x", "orders_topic:0:0"], "leave ids"),
        (["replay", "--file", "/nowhere/x"], "/nowhere/x cannot be read"),
        (["show", "--reason", "BAD"], "--reason is 'BAD'; expected one of EMPTY"),
        (["show", "--topic", "orders"], "--topic is 'orders'; expected one of orders_topic"),
        (["show", "--since", "1"], "--since is '1': expected a number with a unit"),
        (["show", "orders_topic:0:0", "--reason", "EMPTY"], "Ids name the letters"),
    ],
)
def test_a_wrong_word_is_a_sentence(today: Shop, words: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        run(*words)


def test_a_gateway_that_is_away_is_a_sentence(today: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    dremio = asked(today)
    dremio.down = True
    monkeypatch.setattr(letters_command, "Dremio", lambda _settings: dremio)
    with pytest.raises(UserError, match=r"The dead letters cannot be read\. Neither Dremio nor a gateway answers"):
        run("list")
