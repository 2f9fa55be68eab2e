"""The rules between the tables and the pure judge: what is passed in at a batch or tick, where each rule stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from lakehouse.rules import Alert, Moment, State, due, evaluate, state_from_rows
from lakehouse.rules.minute import Span
from pipeline.batch.draft import Draft
from pipeline.batch.hours import KpiHours
from pipeline.batch.positions import as_of, of_topic
from pipeline.batch.terms import Terms
from pipeline.batch.times import EPOCH, micros
from pipeline.judging.watch import Tally, Watch

type Unreadable = Callable[[datetime], Mapping[str, Sequence[Span]]]


class Judging:
    """Where every rule stands since the last publish. `state` moves on when the caller says that it is published.

    `lost`: spans of log time, a topic of the log, whose messages the log dropped unread.
    """

    def __init__(
        self,
        terms: Terms,
        rows: Sequence[Mapping[str, Any]],
        newest_ingested: datetime,
        unreadable: Unreadable,
        lost: Mapping[str, Sequence[Span]],
        hours: Mapping[str, KpiHours],
    ) -> None:
        lookback = terms.rules_settings.max_lookback
        self.state: State = state_from_rows(rows)
        self.tally = Tally(lookback)
        self._terms = terms
        self._watch = Watch(newest_ingested if newest_ingested != EPOCH else None, lookback)
        self._unreadable = unreadable
        self._lost = lost
        self._hours = hours

    @property
    def open_incidents(self) -> set[str]:
        return {row.incident_id for row in self.state.values() if row.incident_id is not None}

    def judge(self, draft: Draft, left_out: Mapping[str, Sequence[Span]]) -> tuple[list[Alert], State]:
        """The alert rows of a batch or tick, and the state to publish with them; the same object where none changed.

        `left_out`: spans, a topic, whose KPI rows are missing: they are closed unjudged.
        """
        terms, now = self._terms, draft.read_at
        lookback = terms.rules_settings.max_lookback
        topics = of_topic(draft.positions, terms.sources)
        read_to = {topic: as_of(held) for topic, held in topics.items()}
        firsts = {
            topic: [p.first_event_at for p in held.values() if p.first_event_at] for topic, held in topics.items()
        }
        unreadable, lost = (self._of_ours(spans) for spans in (self._unreadable(now), self._lost))
        gaps = (lost, unreadable, left_out)
        moment = Moment(
            now=now,
            read_to={topic: read for topic, read in read_to.items() if read is not None},
            received=draft.received,
            first_event_at={topic: min(first) for topic, first in firsts.items() if first},
            unreadable={
                topic: [span for spans in gaps for span in spans.get(topic, ())]
                for topic in {*lost, *unreadable, *left_out}
            },
            unwatched=self._watch.look(now),
            read=self.tally.counts,
        )
        kpis: dict[str, pa.Table] = {
            name: self._hours[name].ending_within(
                [(micros(start), micros(end)) for start, end in spans], draft.changed_hours.get(name, {})
            )
            for name, spans in due(terms.rules, self.state, moment, lookback).items()
        }
        return evaluate(
            terms.rules,
            self.state,
            moment,
            events=draft.alerting,
            kpis=kpis,
            max_age=terms.alerts.max_age,
            max_lookback=lookback,
        )

    def _of_ours(self, spans: Mapping[str, Sequence[Span]]) -> Mapping[str, Sequence[Span]]:
        """Spans of topics of the log as those of the topics that they feed."""
        found: dict[str, list[Span]] = {}
        for log_topic, held in spans.items():
            for topic in self._terms.sources.feeds.get(log_topic, ()):
                found.setdefault(topic, []).extend(held)
        return found
