"""What a batch is judged by: the settings of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from lakehouse.kpis import KPIS
from lakehouse.kpis.check import check_queries
from lakehouse.rules import Rule, load_rules
from lakehouse.settings.base import Shared
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.settings.sources import config_path
from lakehouse.sources import Sources, load_sources
from pipeline.settings import IngestSettings, KpisSettings, RetentionSettings, RulesSettings, check_spans


@dataclass(frozen=True)
class Terms:
    """Settings, rules and sources, the same for every batch. `max_event_age` None: events of any age are good."""

    ingest: IngestSettings
    retention: RetentionSettings
    orders: OrdersSettings
    alerts: AlertsSettings
    kpis: KpisSettings
    rules_settings: RulesSettings
    rules: tuple[Rule, ...]
    max_event_age: timedelta | None
    sources: Sources = field(default_factory=load_sources)

    @classmethod
    def load(cls, shared: Shared, log: tuple[str, timedelta] | None = None) -> Self:
        """As configured; `log` names the setting of how long the log keeps messages. Raises UserError, also for a KPI
        table whose query gives something else than is declared."""
        orders = OrdersSettings.load()
        check_queries(KPIS.values(), orders.counting)
        return cls(
            IngestSettings.load(),
            check_spans(RetentionSettings.load(), shared, log),
            orders,
            AlertsSettings.load(),
            KpisSettings.load(),
            RulesSettings.load(),
            # Rules that ask are the notifier's.
            tuple(rule for rule in load_rules(config_path().parent / "alerts.yaml") if not rule.asks),
            shared.max_event_age,
        )
