"""A notifier of four channels as a process that is killed in each operation, while a channel has a message in hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lakehouse.oncall import KEY_HEADER
from lakehouse.settings.ports import PORTS
from tests.notifier_cast import Cast, cast_of, wait_for

HOLD_S = 60.0
ROUTES = """
routes:
  - name: fatal
    when: [severity = FATAL]
    to: [slack, email, pagerduty, webhook]
    interval: 1 s
    escalate: [{after: 1 h, to: [webhook]}]
"""


class Killed:
    """What happens at one notifier, and whether each place got all of it once. `number` makes names of its own."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.kills = 0
        self._number = 0

    def incident(self, operation: str) -> str:
        """A name of its own: of the incident, its service, and, for a storm knows kinds, its rule."""
        self._number += 1
        return f"{operation}{chr(ord('a') + self._number)}"

    def fires(self, incident: str, service: str = "", status: str = "FIRING", rule: str = "") -> None:
        now = datetime.now(UTC)
        service = service or incident
        self.cast.dremio.alert(now, incident, status, service=service, rule=rule or incident)
        self.cast.dremio.publish(now)

    def kill(self) -> None:
        """kill -9, and a start."""
        self.cast.kill("notifier")
        self.cast.start("notifier")
        self.kills += 1

    def holds(self, service: str, method: str = "") -> None:
        """The next message there is taken, and its answer held for longer than the notifier lives."""
        self.cast.fault(service, "accept_and_hang", hold_s=HOLD_S, **({"method": method} if method else {}))

    def act(self, path: str, key: str, body: Any = None) -> Any:
        """As somebody who gets no answer asks again, with the same Idempotency-Key."""
        status, answer = self.cast.post("notifier", path, body, {KEY_HEADER: key})
        assert status == 200, answer
        return answer

    def settled(self, incident: str, *channels: str) -> None:
        """Waits until all that was planned for it is sent, or all of these channels."""

        def sent() -> bool:
            rows = self.cast.deliveries(incident=incident)
            rows = [row for row in rows if not channels or row["channel"] in channels]
            return bool(rows) and {row["state"] for row in rows} <= {"sent", "muted"}

        wait_for(sent)

    def inbox(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cast.get("sandbox", "/messages")[1]
        return found

    def history(self, incident: str) -> Counter[str]:
        detail = self.cast.get("notifier", f"/api/incidents/{incident}")[1]
        return Counter(line["action"] for line in detail["history"])

    # ---- what each place got of an incident

    def roots(self, word: str) -> list[str]:
        return [row["text"] for row in self.inbox()["slack"] if "thread_ts" not in row and word in row["text"]]

    def replies(self, word: str) -> list[str]:
        return [row["text"] for row in self.inbox()["slack"] if "thread_ts" in row and word in row["text"]]

    def mails(self, word: str) -> set[str]:
        """Message-IDs: a mail may come again under its own."""
        return {row["message_id"] for row in self.inbox()["email"] if word in row["subject"]}

    def pages(self, word: str) -> list[str]:
        """States of PagerDuty's incidents."""
        rows = self.inbox()["pagerduty"]["incidents"]
        return [row["state"] for row in rows if word in json.dumps(row["event"])]

    def hooks(self, word: str) -> Counter[str]:
        """Deliveries by kind: a webhook may come again under its own id."""
        found = {}
        for row in self.inbox()["webhook"]:
            body = json.loads(row["body"])
            if word in row["body"]:
                found[row["delivery"]] = body["tillwatch"]["kind"]
        return Counter(found.values())


type Trouble = list[str]


def differs(what: str, got: object, meant: object) -> Trouble:
    return [] if got == meant else [f"{what}: {got} in place of {meant}"]


def sent(killed: Killed) -> Trouble:
    """While all four have the first message."""
    name = killed.incident("send")
    for service in ("slack", "smtp", "pagerduty", "webhook"):
        killed.holds(service)
    killed.fires(name)
    wait_for(lambda: killed.roots(name) and killed.mails(name) and killed.pages(name) and killed.hooks(name))
    killed.kill()
    killed.settled(name)
    return [
        *differs("Slack", len(killed.roots(name)), 1),
        *differs("email", len(killed.mails(name)), 1),
        *differs("PagerDuty", killed.pages(name), ["triggered"]),
        *differs("webhook", killed.hooks(name), {"first": 1}),
    ]


def edited(killed: Killed) -> Trouble:
    """While Slack has the edit that says that another incident has joined."""
    name = killed.incident("edit")
    killed.fires(name)
    killed.settled(name)
    killed.holds("slack", "chat.update")
    killed.fires(f"{name}-two", name)
    wait_for(lambda: any("2 incidents" in text for text in killed.roots(name)))
    killed.kill()
    killed.fires(name, status="RESOLVED")
    killed.fires(f"{name}-two", name, "RESOLVED")
    wait_for(lambda: any(text.startswith("Resolved") for text in killed.roots(name)))
    killed.settled(name)
    titles = [text.partition("\n")[0] for text in killed.roots(name)]
    return [
        *differs("Slack's roots", titles, [f"Resolved: FATAL in {name}"]),
        *differs("Slack's word of the join", sum(text.startswith("Also") for text in killed.replies(name)), 1),
        *differs("PagerDuty", killed.pages(name), ["resolved"]),
    ]


def escalated(killed: Killed) -> Trouble:
    """While the webhook has the message of the step that a person has asked for."""
    name = killed.incident("escalate")
    killed.fires(name)
    killed.settled(name)
    killed.holds("webhook")
    killed.act(f"/api/incidents/{name}/escalate", f"key of {name}")
    wait_for(lambda: killed.hooks(name)["escalated"])
    killed.kill()
    killed.act(f"/api/incidents/{name}/escalate", f"key of {name}")
    killed.settled(name)
    return [
        *differs("history", killed.history(name), {"noted": 1, "escalated": 1}),
        *differs("webhook", killed.hooks(name), {"first": 1, "escalated": 1}),
    ]


def acknowledged(killed: Killed) -> Trouble:
    """While PagerDuty has the acknowledgement."""
    name = killed.incident("acknowledge")
    killed.fires(name)
    killed.settled(name)
    killed.holds("pagerduty", "acknowledge")
    killed.act(f"/api/incidents/{name}/ack", f"key of {name}", {})
    wait_for(lambda: killed.pages(name) == ["acknowledged"])
    killed.kill()
    killed.act(f"/api/incidents/{name}/ack", f"key of {name}", {})
    killed.settled(name)
    wait_for(lambda: any("taken by" in text for text in killed.roots(name)))
    return [
        *differs("history", killed.history(name), {"acknowledged": 1}),
        *differs("PagerDuty", killed.pages(name), ["acknowledged"]),
        *differs("webhook", killed.hooks(name), {"first": 1, "taken": 1}),
        *differs("Slack", len(killed.roots(name)), 1),
    ]


def silenced(killed: Killed) -> Trouble:
    """While the mail server has the first message after the silence's end, and once before."""
    name = killed.incident("silence")
    matchers = [{"column": "service_name", "op": "=", "value": name}]
    until = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    asked = {"matchers": matchers, "reason": name, "until": until}
    killed.act("/api/silences", f"key of {name}", asked)
    killed.fires(name)
    wait_for(lambda: killed.cast.deliveries(incident=name))
    killed.kill()
    killed.act("/api/silences", f"key of {name}", asked)
    early = killed.roots(name)
    killed.holds("smtp")
    wait_for(lambda: killed.mails(name))
    killed.kill()
    killed.settled(name)
    held = [one for one in killed.cast.get("notifier", "/api/silences")[1] if one["reason"] == name]
    return [
        *differs("silences", len(held), 1),
        *differs("Slack before its end", early, []),
        *differs("Slack", len(killed.roots(name)), 1),
        *differs("email", len(killed.mails(name)), 1),
    ]


def digested(killed: Killed) -> Trouble:
    """While Slack has the first message of a storm's digest."""
    rule = killed.incident("digest")
    names = [f"{rule}-{letter}" for letter in "vwxyz"]
    killed.fires(names[0], rule=rule)
    wait_for(lambda: killed.roots(names[0]))
    killed.holds("slack")
    for name in names[1:4]:
        killed.fires(name, rule=rule)

    def digests() -> list[str]:
        return [text for text in killed.roots(rule) if "incidents open" in text]

    wait_for(digests)
    killed.kill()
    killed.fires(names[4], rule=rule)
    wait_for(lambda: [text for text in digests() if text.startswith("Storm: 4 incidents open")])
    # Mail grows its digest after minutes.
    killed.settled(names[4], "slack", "pagerduty")
    return differs("Slack's digest", len(digests()), 1)


OPERATIONS: dict[str, Callable[[Killed], Trouble]] = {
    "send": sent,
    "edit": edited,
    "escalate": escalated,
    "acknowledge": acknowledged,
    "silence": silenced,
    "digest": digested,
}
"""Each kills it at least once, and says what is not as it would be without."""


@contextmanager
def killed_cast(folder: Path) -> Iterator[Killed]:
    """A sandbox and a notifier that run."""
    folder.joinpath("routes.yaml").write_text(ROUTES, encoding="utf-8")
    with cast_of(folder / "data") as cast:
        sandbox = f"http://127.0.0.1:{PORTS['sandbox'] + cast.offset}"
        cast.settings = {
            "NOTIFIER_ROUTES": str(folder / "routes.yaml"),
            "NOTIFIER_PAGERDUTY_KEY": "k" * 32,
            "NOTIFIER_PAGERDUTY_URL": f"{sandbox}/v2/enqueue",
            "NOTIFIER_PAGERDUTY_PER_S": "100",
            "NOTIFIER_WEBHOOK_URL": f"ops={sandbox}/hooks/ops",
            # Every operation has a kind of its own, whose first goes by itself.
            "NOTIFIER_STORM_AFTER": "1",
            "NOTIFIER_SLACK_TIMEOUT_S": "30",
        }
        cast.start("embedded.sandbox")
        cast.start("notifier")
        yield Killed(cast)
