"""All that is remembered of rows between two batches. Thrown away whole after a batch that failed."""

from __future__ import annotations

import logging

from lakehouse.kpis import KPIS, kpis_of
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.hours import KpiHours
from pipeline.batch.kept import KeptMinutes, keep_up
from pipeline.batch.keys import KeyIndex
from pipeline.batch.minutes import MinuteRows
from pipeline.batch.split import NotSplit
from pipeline.batch.terms import Terms
from pipeline.storage.files import Store

logger = logging.getLogger("tillwatch.ingest")


class Memory:
    """`keys` by topic, `minutes` by topic with a KPI, `hours` by KPI table: caches of what the files say.

    `kept`: by KPI table, of those that are kept up as events come.
    """

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        bound = terms.ingest
        self.keys = {topic: KeyIndex(store, table, bound.keys_in_memory) for topic, table in RAW_OF_TOPIC.items()}
        self.kept: dict[str, KeptMinutes] = {}
        for name, kpi in KPIS.items():
            try:
                self.kept[name] = keep_up(kpi, terms.orders.counting, terms.kpis.memory, terms.kpis.most_groups)
            except NotSplit as reason:
                logger.info("%s is computed from all rows of a minute at each publish: %s", name, reason)
        self.minutes = {topic: self._minutes_of(topic) for topic in RAW_OF_TOPIC if kpis_of(topic)}
        self.hours = {name: KpiHours(store, kpi.table) for name, kpi in KPIS.items()}

    def trim(self) -> None:
        """A batch is over."""
        for keys in self.keys.values():
            keys.trim()
        for minutes in self.minutes.values():
            minutes.trim()
        for kept in self.kept.values():
            kept.trim()

    def forget(self, names: set[str]) -> None:
        """These tables were written to past the store: what is held of them is no longer whole.

        But for `kept`: whoever writes raw rows there gives the draft what KPIs are kept up by.
        """
        for name in names:
            self._store.reload(name)
        for topic, table in RAW_OF_TOPIC.items():
            if table.name in names and topic in self.minutes:
                self.minutes[topic] = self._minutes_of(topic)
        for name in names & self.hours.keys():
            self.hours[name].clear()

    def _minutes_of(self, topic: str) -> MinuteRows:
        kpis = kpis_of(topic)
        columns = dict.fromkeys(column for kpi in kpis for column in kpi.reads)
        # What is kept up needs all rows of a minute once, at most.
        bound = self._terms.ingest.rows_memory if any(kpi.name not in self.kept for kpi in kpis) else 0
        return MinuteRows(self._store, RAW_OF_TOPIC[topic], tuple(columns), bound)
