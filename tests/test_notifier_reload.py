"""SIGHUP: settings and routes are taken anew, the old ones stay where the new are wrong; links that open for nobody."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakehouse.rules import load_rules
from lakehouse.user_error import UserError
from notifier.channel import Broken
from notifier.config import Config, load_config
from notifier.daemon import Daemon
from notifier.links import check_links, is_nobodys
from notifier.model import DeliveryState, Muted
from notifier.settings import NotifierSettings
from tests.notifier_cast import cast_of, wait_for
from tests.test_notifier import Desk, Friend, a_config, fatal_to

ROUTES = "routes:\n  - name: {name}\n    when: [severity = FATAL]\n    to: [{to}]\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


def test_a_configuration_that_is_wrong_is_not_taken_and_said_everywhere(desk: Desk) -> None:
    config = a_config([desk.channel], fatal_to({}).routing)
    daemon = Daemon(config, desk.dremio, desk.ledger)
    crew = daemon._crew

    def wrong() -> Config:
        raise UserError("routes.yaml, line 3: it is wrong.")

    assert not daemon.reload(wrong)
    assert daemon._crew is crew
    said = "The configuration was not taken, and the one before holds: routes.yaml, line 3: it is wrong."
    assert daemon.readiness()["config"] == said
    registry = daemon.metrics.registry
    assert registry.get_sample_value("tillwatch_notifier_reloads_total", {"result": "refused"}) == 1
    assert daemon.reload(lambda: config)
    daemon._crew.stop(5)
    assert daemon.readiness()["config"] is None
    assert registry.get_sample_value("tillwatch_notifier_reloads_total", {"result": "done"}) == 1


def test_a_parked_place_that_is_taken_out_is_waited_for_no_more(desk: Desk) -> None:
    slack, email = Friend(always=Broken("Slack refuses: not_in_channel.")), Friend("email", ("ops@shop.net",))
    routing = fatal_to({"slack": slack.destinations, "email": email.destinations}).routing
    daemon = Daemon(a_config([slack, email], routing), desk.dremio, desk.ledger)
    gauge = daemon.metrics.registry.get_sample_value
    broken = {"channel": "slack", "destination": "C0OPS", "why": "broken"}

    def work() -> None:
        for sender in daemon.senders.values():
            while sender.step() == 0.0:
                pass

    desk.now = datetime.now(UTC)
    desk.fatal("inc-1")
    desk.dremio.publish(desk.now)
    daemon.cycle()
    work()
    daemon.refresh_metrics()
    assert sorted(note.title for note in email.posts) == ["A channel has to be mended", "FATAL in payments"]
    assert gauge("tillwatch_notifier_parked_places", broken) == 1

    assert daemon.reload(lambda: a_config([email], routing))
    daemon._crew.stop(5)
    work()
    daemon.refresh_metrics()
    assert [note.title for note in email.posts[2:]] == ["A channel is mended"]
    assert email.posts[2].body == "Resolved: slack C0OPS was taken out."
    assert [incident.incident_id for incident in desk.ledger.incidents(status="open")] == ["inc-1"]
    # What waited there is listed, and nothing is left alone any more.
    assert [(row.state, row.reason) for row in desk.ledger.deliveries() if row.channel == "slack"] == [
        (DeliveryState.MUTED, Muted.NO_CHANNEL)
    ]
    assert desk.ledger.outbox.parked() == []
    assert gauge("tillwatch_notifier_parked_places", broken) is None


def test_the_hash_tells_configurations_apart_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    routing = fatal_to({"slack": ("C0OPS",)}).routing
    first = a_config([], routing)
    assert a_config([], routing).hash == first.hash
    assert a_config([], routing, storm_after=3).hash != first.hash
    assert a_config([], fatal_to({"slack": (), "email": ()}).routing).hash != first.hash
    # A token is no part of it.
    one, other = (a_config([], routing, slack_token=token).hash for token in ("xoxb-one", "xoxb-other"))
    assert one == other != first.hash


def test_sighup_takes_routes_anew_and_keeps_them_where_the_new_are_wrong(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    settings, routes = config / "tillwatch.yaml", config / "routes.yaml"
    settings.write_text("", encoding="utf-8")
    routes.write_text(ROUTES.format(name="first", to="email"), encoding="utf-8")
    with cast_of(tmp_path / "data") as cast:
        cast.settings = {"CONFIG": str(settings)}
        cast.start("embedded.sandbox")
        process = cast.start("notifier")
        wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 200)
        routes.write_text(ROUTES.format(name="second", to="slak"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 503)
        said = cast.get("notifier", "/-/ready")[1]["parts"]["config"]
        assert f"{routes}, line 4, 'second': 'slak' is no channel (did you mean 'slack'?)" in said
        cast.dremio.alert(datetime.now(UTC), "inc-1")
        cast.dremio.publish(datetime.now(UTC))
        wait_for(lambda: len(cast.email()) == 1)
        routes.write_text(ROUTES.format(name="second", to="slack"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 200)
        cast.dremio.alert(datetime.now(UTC), "inc-2", service="checkout")
        cast.dremio.publish(datetime.now(UTC))
        wait_for(lambda: len(cast.slack()) == 1)
        assert (len(cast.email()), len(cast.slack())) == (1, 1)
        assert cast.stop("notifier") == 0


@pytest.mark.parametrize(
    ("url", "nobodys"),
    [
        ("http://localhost:5006/app", True),
        ("http://127.0.0.1:5006/app", True),
        ("http://[::1]:5006/app", True),
        ("https://console.example.com/app", True),
        ("https://console.shop.example/app", True),
        ("https://ops.shop.test", True),
        ("https://console.shop.net/app", False),
        ("https://example.company.net/app", False),
        ("http://10.0.0.5:5006/app", False),
        ("http://console:5006/app", False),
    ],
)
def test_addresses_of_this_machine_and_of_examples_are_nobodys(url: str, nobodys: bool) -> None:
    assert is_nobodys(url) == nobodys


def test_a_real_channel_gets_no_link_that_opens_for_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slack = {"SLACK_TOKEN": "xoxb-1", "SLACK_CHANNEL": "C0OPS"}
    for name, value in slack.items():
        monkeypatch.setenv(f"TILLWATCH_NOTIFIER_{name}", value)
    with pytest.raises(UserError, match=r"Setting 'notifier.console_url' is .* opens for nobody who is told by slack"):
        load_config()
    monkeypatch.setenv("TILLWATCH_NOTIFIER_CONSOLE_URL", "https://ops.shop.net/app")
    with pytest.raises(UserError, match=r"In config/alerts.yaml the runbook_url of fatal_error, .* opens for nobody"):
        load_config()
    # The sandbox is a stand-in.
    monkeypatch.setenv("TILLWATCH_NOTIFIER_SLACK_BASE_URL", "http://127.0.0.1:5008/api/")
    assert [channel.name for channel in load_config().channels] == ["slack"]


def test_a_rule_may_have_no_runbook(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(
        "rules:\n  - {name: a, kind: event, severity: FATAL, where: {severity: [FATAL]}, by: [service_name], "
        "resolve_after: 5 min, description: x, owner: o, summary: s}\n",
        encoding="utf-8",
    )
    [rule] = load_rules(file)
    assert rule.runbook_url is None
    check_links("https://ops.shop.net/app", [rule], ["slack"])


@pytest.mark.parametrize(
    ("host", "refused"), [("mail.shop.net", True), ("10.0.0.5", True), ("sandbox", False), ("::1", False)]
)
def test_mail_in_the_clear_goes_to_no_other_machine(host: str, refused: bool) -> None:
    settings = NotifierSettings.load(
        smtp_host=host, smtp_security="none", email_from="a@shop.net", email_to="b@shop.net"
    )
    if not refused:
        settings.check()
        return
    with pytest.raises(UserError, match=f"Setting 'notifier.smtp_security' is none, and {host} is another machine"):
        settings.check()
