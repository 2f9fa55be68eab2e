"""A notifier whose rules ask, in process: a table to ask of, a ledger, one channel; the test turns the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from textwrap import indent

from fastapi import FastAPI

from lakehouse.rules import Rule, load_rules
from lakehouse.rules.kinds.question import QuestionRule
from notifier.api import create_app
from notifier.config import Config
from notifier.crew import Crew
from notifier.daemon import Daemon
from notifier.ledger.ledger import Ledger
from notifier.manner import Manner
from notifier.model import Incident, MessageKind
from notifier.routing.tree import Routing
from notifier.tokens import Tokens
from tests.test_notifier import Desk, Friend, a_config

STEP = timedelta(seconds=10)
ASKED = "SELECT product_id, COUNT(*) AS n FROM {orders_processed} WHERE order_ts >= :since GROUP BY product_id"
LIMIT: Mapping[str, str] = {
    "sql": ASKED,
    "over": "10 min",
    "value": "n",
    "above": "2",
    "by": "[product_id]",
    "for": "20 s",
    "keep_firing_for": "20 s",
    "description": '"Much of {product_id}: {n}, over {threshold} for {for}"',
}
"""Products of which more than two are sold in ten minutes."""


def rule_text(name: str = "much_sold", **keys: str) -> str:
    """A rule of config/alerts.yaml; keys are as YAML has them, and an empty one is left out."""
    usual = {"kind": "question", "severity": "FATAL", "every": "10 s", "description": "x"}
    usual |= {"owner": "shop", "summary": "Something is asked"}
    said = "\n".join(f"{key.rstrip('_')}: {value}" for key, value in (usual | keys).items() if value)
    return f"  - name: {name}\n{indent(said, '    ')}\n"


def rules_of(folder: Path, *texts: str) -> tuple[Rule, ...]:
    path = folder / "alerts.yaml"
    path.write_text(f"rules:{' []' if not texts else ''}\n" + "".join(texts), encoding="utf-8")
    return load_rules(path)


class Asking:
    """Rules over the orders of a shop, which are told on one channel. `turn` is one asking of all of them."""

    def __init__(self, path: Path, *texts: str, edits: bool = False) -> None:
        self.path = path
        manner = Manner(frozenset(MessageKind)) if edits else Manner()
        self.desk = Desk(path, Friend(manner=manner))
        self.config = self._config(*texts)
        self.crew = self.a_crew()

    def _config(self, *texts: str) -> Config:
        routing = Routing.model_validate({"routes": [{"name": "all", "to": ["slack"]}]})
        return replace(a_config([self.desk.channel], routing), rules=rules_of(self.path, *texts))

    def a_crew(self) -> Crew:
        desk = self.desk
        return Crew(
            self.config,
            desk.dremio,
            desk.ledger,
            desk.metrics,
            clock=desk.clock,
            monotonic=desk.monotonic,
            asker=desk.dremio,
        )

    def take(self, *texts: str) -> None:
        """These rules from now on, as a reload does it."""
        self.crew.stop(1)
        self.config = self._config(*texts)
        self.crew = self.a_crew()
        self.crew.questions.turn()

    def restart(self) -> None:
        """As after kill -9: of what was in memory nothing is left."""
        self.crew.stop(1)
        self.desk.ledger.close()
        self.desk.ledger = Ledger(self.path / "ledger.db", self.desk.clock)
        self.desk.ledger.count_in(self.desk.metrics)
        self.crew = self.a_crew()
        sender = self.crew.senders["slack"]
        self.desk.sender = sender

    def sold(self, product: str, times: int = 1) -> None:
        for _ in range(times):
            self.desk.dremio.order(self.desk.now, product_id=product)

    def turn(self, *, publish: bool = True) -> list[str]:
        """A step later: ask all rules and send; what is said then."""
        self.desk.now += STEP
        if publish:
            self.desk.dremio.publish(self.desk.now)
        for rule in self.config.question_rules:
            self.crew.questions.ask(rule)
        before = len(self.desk.channel.posts)
        self.work()
        return [post.body.partition("\n")[0] for post in self.desk.channel.posts[before:]]

    def turns(self, times: int, *, publish: bool = True) -> list[str]:
        return [said for _ in range(times) for said in self.turn(publish=publish)]

    def work(self) -> None:
        self.desk.work()

    @property
    def rule(self) -> QuestionRule:
        return self.config.question_rules[0]

    def incidents(self) -> list[Incident]:
        return sorted(self.desk.ledger.incidents(), key=lambda each: (each.starts_ms, each.incident_id))

    def own(self) -> list[str]:
        """What the notifier says of itself, and is open."""
        return [alert.description for alert in self.desk.ledger.own_alerts("tillwatch_question")]

    def close(self) -> None:
        self.crew.stop(1)
        self.desk.close()

    def daemon(self) -> Daemon:
        daemon = Daemon(self.config, self.desk.dremio, self.desk.ledger, asker=self.desk.dremio)
        daemon._crew = self.crew
        return daemon

    def api(self) -> tuple[FastAPI, Tokens]:
        tokens = Tokens(self.path)
        return create_app(self.daemon(), tokens), tokens
