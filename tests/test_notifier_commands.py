"""What people ask of the notifier in a shell: what it says, its exit codes, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from lakehouse.settings.ports import PORTS
from notifier import reconcile
from notifier.__main__ import main
from notifier.channel import Dead, Sent
from notifier.commands import send_test
from notifier.commands.app import app
from notifier.commands.arguments import conditions_of
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind
from notifier.routing.matchers import Matcher
from notifier.tokens import Tokens
from tests.notifier_cast import Cast, cast_of, wait_for
from tests.test_notifier import STYLE, Friend


@dataclass
class Said:
    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        assert self.out, self.error
        return json.loads(self.out)


class Shell:
    """Commands as a shell would run them, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, error = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), out, error)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """Over a data directory that nobody has written to, where nobody answers."""
    set_up(monkeypatch, {"TILLWATCH_DATA_DIR": str(tmp_path), "TILLWATCH_PORT_OFFSET": "19000"})
    return Shell(capsys)


def set_up(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    slack = {"TOKEN": "x", "CHANNEL": "C0A,C0B", "BASE_URL": "http://127.0.0.1:1/api/"}
    given = {f"TILLWATCH_NOTIFIER_SLACK_{name}": value for name, value in slack.items()}
    for name, value in {**given, **settings}.items():
        monkeypatch.setenv(name, value)


# ---- of every command


def commands() -> Iterator[tuple[str, ...]]:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # it is a group
        within = getattr(command, "commands", None)
        yield from [(name, each) for each in within] if within else [(name,)]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_each_command_tells_its_exit_codes_and_has_json(shell: Shell, words: tuple[str, ...]) -> None:
    told = shell(*words, "--help")
    assert told.code == 0
    assert "Exits 0" in " ".join(told.out.split())
    assert "--json" in told.out


def test_the_daemons_own_help_names_every_command(shell: Shell) -> None:
    told = shell("--help").out
    missing = {words[0] for words in commands()} - set(told.replace(",", " ").replace(".", " ").split())
    assert missing == set()


# ---- what is wrong

WRONG: list[tuple[tuple[str, ...], int, str]] = [
    # matchers and columns
    (("silence", "add", "--for", "2h", "--reason", "x", "sevrity=FATAL"), 2, "(did you mean 'severity'?)"),
    (("silence", "add", "--for", "2h", "--reason", "x", "severity"), 2, "'severity': expected a column, one of = !="),
    (("silence", "add", "--for", "2h", "--reason", "x", "severity=FATLA"), 2, "(did you mean 'FATAL'?)"),
    (("silence", "add", "--for", "2h", "--reason", "x", "rule=~("), 2, "'(' is no pattern"),
    (("silence", "add", "--for", "2h", "severity=FATAL"), 2, "--reason"),
    (("render", "sevrity=FATAL"), 2, "(did you mean 'severity'?)"),
    (("render", "metric_value=many"), 2, "'many' is no number for metric_value"),
    (("render", "severity=FATLA"), 2, "'FATLA' is no severity (did you mean 'FATAL'?)"),
    (("render", "severity=FATAL", "--channel", "slak"), 2, "'slak' is no channel (did you mean 'slack'?)"),
    (("render",), 2, "COLUMN=VALUE of an alert, or --incident, and not both"),
    (("render", "--incident", "x"), 2, "There is no ledger"),
    (("backtest", "--from", "7d", "--silence", "sevrity=FATAL"), 2, "(did you mean 'severity'?)"),
    (("backtest", "--from", "7d", "--silence", "all of it"), 2, "is no list of conditions"),
    # times and spans
    (("silence", "add", "--reason", "x", "severity=FATAL"), 2, "A silence has an end"),
    (("silence", "add", "--reason", "x", "--for", "2h", "--until", "2099-01-01", "rule=a"), 2, "A silence has an end"),
    (
        ("silence", "add", "--reason", "x", "--for", "soon", "rule=a"),
        2,
        "'soon' is no span for --for: expected a number",
    ),
    (("silence", "add", "--reason", "x", "--for", "0h", "rule=a"), 2, "it is over as it begins"),
    (("silence", "add", "--reason", "x", "--until", "noon", "rule=a"), 2, "'noon' is no time for --until; write it"),
    (("mark", "deploy", "--at", "noon"), 2, "'noon' is no time for --at"),
    (("incidents", "--since", "lately"), 2, "'lately' is no time for --since"),
    (("incidents", "--status", "opne"), 2, "opne"),
    (("reconcile", "--since", "noon"), 2, "'noon' is no span for --since"),
    (("reconcile", "--since", "400d"), 2, "the ledger remembers 90 d (notifier.keep)"),
    (("replay", "--from", "noon", "--dry-run"), 2, "'noon' is no time for --from"),
    (("replay", "--from", "1h", "--to", "2h", "--dry-run"), 2, "is not before --to"),
    (("replay", "--from", "999999999d", "--dry-run"), 2, "is longer ago than can be counted"),
    (("replay", "--from", "1h"), 2, "Nothing is sent twice by hand"),
    (("backtest",), 2, "--from"),
    (("backtest", "--from", "1h", "--storm-after", "-1"), 2, "storm-after"),
    # files and places
    (("backtest", "--from", "1h", "--routes", "none.yaml"), 2, "The file none.yaml cannot be read"),
    (("send-test", "slak"), 2, "'slak' is no channel (did you mean 'slack'?)"),
    (("send-test", "email"), 2, "The channel 'email' is not set up; set notifier.smtp_host"),
    (("send-test", "slack:C0C"), 2, "'C0C' is no destination of slack"),
    (("deliveries", "retry"), 2, "Name a delivery's key"),
    (("deliveries", "retry", "--dead"), 2, "Name a delivery's key"),
    (("deliveries", "retry", "--dead", "--parked", "slack"), 2, "are two questions"),
    # a notifier that is not there
    (("incidents",), 2, "There are no tokens"),
    (("reconcile",), 2, "There is no ledger"),
    (("ack", "x", "--url", "here:5007"), 2, "'here:5007' is no address for --url"),
    (("ack", "x", "--url", "http://127.0.0.1:9"), 2, "add --token-file"),
    (("ack", "x", "--token-file", "none"), 2, "The token file none cannot be read: No such file"),
    (("replay", "--from", "1h", "--dry-run"), 3, "Neither Dremio nor a gateway answers"),
    (("backtest", "--from", "1h"), 3, "Neither Dremio nor a gateway answers"),
]


@pytest.mark.parametrize(
    ("words", "code", "sentence"), WRONG, ids=lambda value: " ".join(value) if type(value) is tuple else ""
)
def test_what_is_wrong_is_one_sentence(shell: Shell, words: tuple[str, ...], code: int, sentence: str) -> None:
    said = shell(*words)
    assert said.code == code, said
    assert sentence in " ".join(said.error.replace("│", " ").split())
    assert "Traceback" not in said.error
    assert said.out == ""
    # What the shell's own grammar refuses comes in a frame.
    assert said.error.startswith("Usage:") or said.error.count("\n") == 1


def test_where_nobody_answers_that_is_said_with_what_would_do(shell: Shell, tmp_path: Path) -> None:
    Tokens(tmp_path)
    for words in (("incidents",), ("silence", "list"), ("deliveries", "list"), ("mark", "deploy 1.4"), ("ack", "x")):
        said = shell(*words)
        assert said.code == 3
        at = f"http://127.0.0.1:{PORTS['notifier'] + 19000}/api"
        assert said.error.startswith(f"tillwatch: The notifier at {at} cannot be reached: ")
        assert "Connection refused; start it" in said.error
        assert said.error.count("\n") == 1
    empty = tmp_path / "empty"
    empty.write_text("two words\n", encoding="utf-8")
    assert "does not hold one line with a token" in shell("mark", "x", "--token-file", str(empty)).error
    assert "'text': String should have at least 1 character." in shell("mark", "").error


def test_conditions_in_one_text_may_have_blanks_and_quotes() -> None:
    written = "service_name = \"card desk\"  severity!=WARN rule=~'a b|c' owner=ops"
    assert conditions_of(written) == (
        Matcher("service_name", "=", "card desk"),
        Matcher("severity", "!=", "WARN"),
        Matcher("rule", "=~", "a b|c"),
        Matcher("owner", "=", "ops"),
    )


# ---- messages


def test_an_alert_is_rendered_as_each_channel_would_dress_it(shell: Shell) -> None:
    asked = ("severity=ERROR", "service_name=card desk", "description=no <b> answer", "incident_id=inc-1", "owner=ops")
    parts = shell("render", *asked, "--at", "2027-01-31T22:00:00+01:00", "--json").json
    assert parts["email"]["subject"].startswith("FIRING ERROR in card desk [")
    assert "no &lt;b&gt; answer" in parts["email"]["html"]
    assert "since 2027-01-31 21:00:00 UTC" in parts["email"]["text"]
    assert "owner ops" in parts["slack"]["text"]
    title = parts["slack"]["blocks"][0]["elements"][0]["elements"][0]
    assert title["text"] == "ERROR in card desk"
    over = shell("render", *asked, "status=RESOLVED", "--channel", "email")
    assert over.code == 0
    assert "--- email: subject\nRe: RESOLVED ERROR in card desk [" in over.out
    assert "slack" not in over.out


@dataclass
class Pager(Friend):
    """Calls people; a call ends by a message that it is over."""

    manner: Manner = Manner(TELLS | {MessageKind.TAKEN})  # noqa: RUF009  # it is frozen


def test_a_test_that_calls_people_ends_at_once_and_one_that_does_not_is_one_message() -> None:
    pager, friend = Pager("pager"), Friend()
    assert send_test._send_one(pager, "C0OPS", STYLE) == Sent("ts-1")
    first, over = pager.posts
    assert (first.status, over.status, over.root) == ("FIRING", "RESOLVED", "ts-1")
    assert first.thread_id == over.thread_id
    assert {first.title, over.title} == {"Test message: nothing is wrong"}
    assert send_test._send_one(friend, "C0OPS", STYLE) == Sent("ts-1")
    [post] = friend.posts
    assert (post.severity, post.root) == ("INFO", None)
    assert "send-test" in post.body
    # Each by itself: a second one is no repeat of the first.
    send_test._send_one(friend, "C0OPS", STYLE)
    assert len({note.delivery_key for note in friend.posts}) == 2


def test_a_call_whose_end_is_refused_is_told() -> None:
    pager = Pager("pager", answers=[Sent("1"), Dead("gone")])
    assert send_test._send_one(pager, "C0OPS", STYLE) == Dead("gone")


# ---- a notifier that runs


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    with cast_of(tmp_path_factory.mktemp("commands") / "data") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        yield cast


@pytest.fixture
def at_work(running: Cast, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Cast, Shell]:
    running.clear_faults()
    running.dremio.publish(datetime.now(UTC))
    ours = {name: value for name, value in running.environment().items() if name.startswith("TILLWATCH_")}
    set_up(monkeypatch, ours)
    monkeypatch.setattr(reconcile, "WAIT_S", 1)
    return running, Shell(capsys)


def fatal(cast: Cast, incident: str, status: str = "FIRING", service: str = "payments") -> None:
    now = datetime.now(UTC)
    cast.dremio.alert(now, incident, status, service)
    cast.dremio.publish(now)


def sent(cast: Cast, incident: str) -> bool:
    rows = cast.messages(incident=incident)
    return len(rows) == 2 and {row["state"] for row in rows} == {"sent"}


def test_people_act_by_commands_on_the_daemon_that_runs(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    for name in ("act-one", "act-two"):
        fatal(cast, name, service=name)
        wait_for(lambda: sent(cast, name))  # noqa: B023
    listed = {row["incident_id"]: row for row in shell("incidents", "--status", "open", "--since", "1h", "--json").json}
    assert {"act-one", "act-two"} <= listed.keys()
    assert listed["act-one"]["word"] == "open"

    # However many have come since.
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr("notifier.commands.incidents.MOST", 1)
        taken = shell("ack", "act-o", "--for", "2h", "--note", "on it")
    assert (taken.code, taken.out.startswith("act-one (FATAL in act-one): operator has it until ")) == (0, True)
    again = shell("ack", "act-one", "--json").json
    assert again["ack"]["by"] == "operator"
    two = shell("ack", "act-")
    assert (two.code, "of 2 ids (act-one, act-two); give more of it" in two.error) == (2, True)
    assert shell("ack", "act-three").code == 2
    assert shell("note", "act-one", "looked at it").code == 0
    assert shell("escalate", "act-two").code == 1
    let_go = shell("unack", "act-one", "--json").json
    assert let_go["ack"] is None
    done = [line["action"] for line in let_go["history"]]
    assert done == ["acknowledged", "acknowledged", "noted", "unacknowledged"]
    fatal(cast, "act-one", "RESOLVED", "act-one")
    wait_for(lambda: "resolved" in shell("incidents", "--status", "resolved").out)
    over = shell("ack", "act-one")
    assert (over.code, over.error) == (2, "tillwatch: The incident 'act-one' is over.\n")


def test_where_an_alert_would_go_knows_silences_and_open_incidents(at_work: tuple[Cast, Shell], tmp_path: Path) -> None:
    cast, shell = at_work
    path = tmp_path / "routes.yaml"
    path.write_text(
        """
        inhibit: [{name: down, source: [service_name = depot], target: [service_name = van]}]
        routes:
          - name: all
            to: [slack]
            group_by: [owner]
            repeat: 2 h
            escalate: [{after: 10 min, to: [email]}]
        """,
        encoding="utf-8",
    )
    fatal(cast, "depot-down", service="depot")
    wait_for(lambda: sent(cast, "depot-down"))
    made = shell("silence", "add", "service_name=scooter", "--for", "1h", "--reason", "a move", "--json").json
    with pytest.MonkeyPatch.context() as other:
        other.setenv("TILLWATCH_NOTIFIER_ROUTES", str(path))
        words = ("routes", "test", "severity=FATAL", "owner=fleet")
        silent, inhibited = shell(*words, "service_name=scooter"), shell(*words, "service_name=van")
        told = shell(*words, "service_name=bike")
        [shown] = shell(*words, "service_name=bike", "--json").json
    assert (silent.code, silent.error) == (1, "")
    assert f"all: slack C0SANDBOX, muted silenced({made['id']}, by " in silent.out
    assert (inhibited.code, "muted inhibited(down, by depot-down)" in inhibited.out) == (1, True)
    assert told.code == 0
    assert told.out.splitlines() == [
        "all: slack C0SANDBOX, told",
        "    a thread for each owner (owner=fleet); its first message at once; one in 1 min; "
        "again after 2 h where nobody has it",
        "step 1 after 10 min where nobody has it: email alice@shop.example",
    ]
    assert (shown["group_by"], shown["repeat_s"]) == (["owner"], 7200.0)
    assert shown["steps"] == [{"after_s": 600.0, "to": [{"channel": "email", "destination": "alice@shop.example"}]}]
    shell("silence", "end", made["id"])


def test_silences_are_made_listed_and_ended(at_work: tuple[Cast, Shell]) -> None:
    _, shell = at_work
    words = (
        "silence",
        "add",
        "service_name=~mail.*",
        "severity!=FATAL",
        "--for",
        "2h",
        "--reason",
        "planned",
        "--json",
    )
    made = shell(*words).json
    assert [each["op"] for each in made["matchers"]] == ["=~", "!="]
    assert "service_name =~ mail.*, severity != FATAL  operator" in shell("silence", "list").out
    assert shell("silence", "end", made["id"][:8]).out == f"Silence {made['id']} ended.\n"
    assert shell("silence", "list", "--json").json == []
    assert made["id"] in [each["id"] for each in shell("silence", "list", "--all", "--json").json]
    assert shell("silence", "end", made["id"]).out == f"Silence {made['id']} was over.\n"
    assert "There is no silence 'none'" in shell("silence", "end", "none").error
    long = shell("silence", "add", "severity=WARN", "--for", "30d", "--reason", "x")
    assert (long.code, "'until' is over 7 d away" in long.error) == (2, True)


def test_a_mark_is_made_by_either_name(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    assert shell("mark", "prices", "--at", "10min").out.endswith(" UTC: prices.\n")
    named = [sys.executable, "-m", "tillwatch", "mark", "deploy 1.4", "--json"]
    done = subprocess.run(named, env=cast.environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["text"]) == (0, "deploy 1.4")
    marks = cast.get("notifier", "/api/marks")[1]
    assert [(mark["text"], mark["who"]) for mark in marks] == [("deploy 1.4", "operator"), ("prices", "operator")]
    apart = datetime.fromisoformat(marks[0]["at"]) - datetime.fromisoformat(marks[1]["at"])
    assert timedelta(minutes=10) <= apart < timedelta(minutes=12)


def test_with_a_wrong_token_or_one_that_may_only_read_the_api_says_so(
    at_work: tuple[Cast, Shell], tmp_path: Path
) -> None:
    cast, shell = at_work
    token = tmp_path / "token"
    url = f"http://localhost:{PORTS['notifier'] + cast.offset}"
    for secret, sentence in (
        ("wrong", "This needs `Authorization: Bearer TOKEN`"),
        (cast.token("reader"), "may read, and not act"),
    ):
        token.write_text(f"{secret}\n", encoding="utf-8")
        said = shell("mark", "deploy", "--url", url, "--token-file", str(token))
        assert (said.code, sentence in said.error) == (2, True)
    token.write_text(cast.token(), encoding="utf-8")
    assert shell("mark", "deploy", "--url", f"{url}/api/", "--token-file", str(token)).code == 0


def test_deliveries_are_listed_and_tried_again(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    cast.fault("slack", "api_error", error="invalid_auth", count=1000)
    fatal(cast, "to-be-tried", service="till")
    wait_for(lambda: len(cast.messages(incident="to-be-tried", state="parked")) == 1)
    asked = ("deliveries", "list", "--incident", "to-be", "--state", "parked", "--json")
    [parked] = shell(*asked).json["deliveries"]
    assert parked["error"] == "Slack refuses: invalid_auth."
    assert "1 parked" in shell("deliveries", "list", "--limit", "1").out
    assert shell("deliveries", "retry", "--parked", "email").code == 1
    cast.clear_faults()
    # However many have come since.
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr("notifier.commands.deliveries.MOST", 1)
        tried = shell("deliveries", "retry", "--parked", "slack", "--json").json
        assert tried == {"retried": [parked["delivery_key"]]}
    cast.dremio.publish(datetime.now(UTC))
    wait_for(lambda: any("till" in row["text"] for row in cast.slack()))
    key = parked["delivery_key"][:10]
    wait_for(lambda: shell("deliveries", "list", "--state", "sent").out.count(key) == 1)
    fatal(cast, "newer", service="shutters")
    wait_for(lambda: sent(cast, "newer"))
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr("notifier.commands.deliveries.MOST", 1)
        gone = shell("deliveries", "retry", key)
    assert (gone.code, "There is no delivery of that key that could be tried again." in gone.error) == (2, True)
    assert "There is no delivery 'none'" in shell("deliveries", "retry", "none").error
    assert shell("deliveries", "retry", "--dead", "slack").out == "There was none to try again.\n"


def test_a_test_message_goes_to_the_places_named_and_says_which_failed(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    before = len(cast.messages(limit="1000"))
    sent = shell("send-test", "--json")
    assert sent.code == 0
    assert [(row["channel"], row["destination"], row["outcome"]) for row in sent.json] == [
        ("email", "alice@shop.example", "sent"),
        ("slack", "C0SANDBOX", "sent"),
    ]
    assert sum("Test message: nothing is wrong" in row["text"] for row in cast.slack()) == 1
    assert sum(row["subject"].startswith("Test message: nothing is wrong") for row in cast.email()) == 1
    assert len(cast.messages(limit="1000")) == before
    cast.fault("slack", "api_error", error="not_in_channel")
    failed = shell("send-test", "slack:C0SANDBOX")
    assert (failed.code, "broken" in failed.out, "not_in_channel" in failed.out) == (1, True, True)
    assert "alice" not in failed.out


def test_what_an_incident_of_the_ledger_looks_like_while_the_daemon_runs(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    fatal(cast, "looked-at", service="shelves")
    wait_for(lambda: sent(cast, "looked-at"))
    shown = shell("render", "--incident", "looked", "--json").json
    assert shown["slack"]["text"].startswith("FATAL in shelves\n")
    assert shown["email"]["subject"].startswith("Re: FIRING FATAL in shelves [")
    assert "There is no incident 'none'" in shell("render", "--incident", "none").error


def test_past_alerts_are_reconciled_replayed_and_tried_with_other_rules(at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    fatal(cast, "past", service="scales")
    wait_for(lambda: sent(cast, "past"))
    well = shell("reconcile", "--since", "1h", "--json")
    assert (well.code, well.json["unseen"], well.json["untold"]) == (0, [], [])
    assert well.json["alerts"] >= 1

    replayed = shell("replay", "--from", "1h", "--dry-run", "--json")
    assert replayed.code == 0
    firsts = {(row["channel"], row["title"]) for row in replayed.json["messages"] if row["kind"] == "first"}
    assert {("slack", "FATAL in scales"), ("email", "FATAL in scales")} <= firsts
    assert "slack C0SANDBOX" in shell("replay", "--from", "1h", "--dry-run").out

    assert shell("backtest", "--from", "1h").code == 0
    silenced = shell("backtest", "--from", "1h", "--silence", "service_name=scales", "--json")
    assert silenced.code == 1
    assert silenced.json["difference"]["missed"] == ["past"]
    assert silenced.json["would_be"]["missed"][0]["reasons"] == ["fatal: silenced(service_name=scales)"]
    assert {row["messages"] for row in silenced.json["difference"]["destinations"]} == {-1}
    text = shell("backtest", "--from", "1h", "--silence", "service_name=scales").out
    assert "fatal: silenced(service_name=scales)" in text
    routes = cast.data_dir / "none.yaml"
    routes.write_text("routes: [{name: none, to: []}]", encoding="utf-8")
    nobody = shell("backtest", "--from", "1h", "--routes", str(routes), "--json").json
    assert {row["messages"] for row in nobody["would_be"]["destinations"]} == {0}


def test_a_notifier_that_was_killed_leaves_what_reconcile_finds(tmp_path: Path, at_work: tuple[Cast, Shell]) -> None:
    cast, shell = at_work
    cast.kill("notifier")
    fatal(cast, "unseen", service="doors")
    lost = shell("reconcile", "--since", "1h")
    assert lost.code == 1
    assert "not in the ledger: 1\n" in lost.out
    assert "doors" in lost.out
    assert shell("incidents").code == 3
    cast.start("notifier")
    wait_for(lambda: shell("reconcile", "--since", "1h").code == 0)
