"""All that is remembered of rows between two batches. Thrown away whole after a batch that failed."""

from __future__ import annotations

from lakehouse.kpis import KPIS, kpis_of
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.hours import KpiHours
from pipeline.batch.keys import KeyIndex
from pipeline.batch.minutes import MinuteRows
from pipeline.batch.terms import Terms
from pipeline.storage.files import Store


class Memory:
    """`keys` by topic, `minutes` by topic with a KPI, `hours` by KPI table: caches of what the files say."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        bound = terms.ingest
        self.keys = {topic: KeyIndex(store, table, bound.keys_in_memory) for topic, table in RAW_OF_TOPIC.items()}
        self.minutes = {topic: self._minutes_of(topic) for topic in RAW_OF_TOPIC if kpis_of(topic)}
        self.hours = {name: KpiHours(store, kpi.table) for name, kpi in KPIS.items()}

    def trim(self) -> None:
        """A batch is over."""
        for keys in self.keys.values():
            keys.trim()
        for minutes in self.minutes.values():
            minutes.trim()

    def forget(self, names: set[str]) -> None:
        """These tables were written to past the store: what is held of them is no longer whole."""
        for name in names:
            self._store.reload(name)
        for topic, table in RAW_OF_TOPIC.items():
            if table.name in names and topic in self.minutes:
                self.minutes[topic] = self._minutes_of(topic)
        for name in names & self.hours.keys():
            self.hours[name].clear()

    def _minutes_of(self, topic: str) -> MinuteRows:
        columns = dict.fromkeys(column for kpi in kpis_of(topic) for column in kpi.reads)
        return MinuteRows(self._store, RAW_OF_TOPIC[topic], tuple(columns), self._terms.ingest.rows_memory)
