"""Pipeline: the way of an event from its producer to this screen, each part with its limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from itertools import cycle
from operator import itemgetter
from typing import Any

from console import chain, dead_letters, look
from console.chain import CHAIN
from console.dead_letters import LETTERS, REJECTED
from console.drill.charts import TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.tab import DrillTab, binned, rebinned
from console.feed.asker import Want, want
from console.feed.numbers import THIN, exactly, short
from console.feed.pins import Pin
from console.feed.snapshot import now_utc
from console.parts import Part, iso_ms
from console.tab import Card, ChartPlace, ListColumn, RowList
from console.view import Span, View
from lakehouse.clock import SHOWN
from lakehouse.decode import Reason
from lakehouse.dremio.statement import Fragment
from lakehouse.sources import load_sources
from lakehouse.tables import TABLES, full_name
from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError

VERDICTS = {"good": "green", "duplicate": "sky", "key_conflict": "purple", "bad": "state-bad"}
"""What became of a message, to its colour. Late ones are good too, and would be counted twice: they have a chart."""
LATE_COLOURS = ("blue", "orange", "green", "purple", "sky", "vermilion")
PHASES = {
    "read": "text-quiet",
    "decode": "sky",
    "dedupe": "blue",
    "raw": "green",
    "kpis": "purple",
    "alerts": "state-watch",
    "stage": "vermilion",
    "publish": "orange",
}
"""What a batch's time goes into, to its colour."""
RUNS_SHOWN = 20
NEWEST = timedelta(minutes=5)

PARTITIONS = RowList(
    "partitions",
    "How far ingest has read",
    (
        ListColumn("Topic", "topic"),
        ListColumn("Partition", "partition", "number"),
        ListColumn("Next offset", "offset", "number"),
        ListColumn("Behind", "behind", "number"),
        ListColumn("Read to", "read_to", "time"),
        ListColumn("First event", "first", "time", css="spare"),
    ),
    "Nothing was read yet: look whether ingest (or the Spark driver) runs.",
    exports="positions",
)
NONE_LATE = "No event of this range came after its minute had been judged."
LATE = RowList(
    "late_events",
    "What came late",
    (
        ListColumn("Topic", "topic"),
        ListColumn("Late events", "late", "number"),
        ListColumn("Late by at most", "late_by", "number", hover="from the event to its being read"),
        ListColumn("Most at", "most_at", "time", css="spare"),
    ),
    NONE_LATE,
    exports="late_ones",
)
MAINTENANCE = RowList(
    "maintenance",
    "Maintenance",
    (
        ListColumn("Began", "at", "time"),
        ListColumn("Took", "took", "number"),
        ListColumn("Files merged", "merged", "number"),
        ListColumn("into", "written", "number"),
        ListColumn("Files deleted", "deleted", "number"),
        ListColumn("Their size", "size", "number"),
        ListColumn("Commits dropped", "commits", "number", css="spare"),
        ListColumn("Rows expired", "rows", "number", css="spare"),
    ),
    "No maintenance ran in this range.",
    long=True,
    exports="maintenance",
)


SIZES = RowList(
    "table_sizes",
    "Tables",
    (
        ListColumn("Table", "table", css="wide"),
        ListColumn("Rows", "rows", "number"),
        ListColumn("Files", "files", "number"),
        ListColumn("Size", "size", "number"),
    ),
    "No table has been published yet.",
    long=True,
    exports="sizes",
)


class PipelineTab(DrillTab):
    """What ingest, publishes, the console's questions and its pages take."""

    title = "Pipeline"
    order = 50
    steady = False
    filters = (FIND,)
    cards = (
        Card((CHAIN,)),
        Card((ChartPlace("messages_time", "Messages over time", "by what became of them", "counts"),), columns=6),
        Card((ChartPlace("phases_time", "Seconds of a batch", "by phase, the mean of a minute", "means"),), columns=6),
        Card(
            (
                ChartPlace(
                    "late_time", "Late events over time", "their minute had been judged already", "late", NONE_LATE
                ),
            ),
            columns=6,
        ),
        Card((LATE,), columns=6),
        Card((PARTITIONS,), columns=6),
        Card((SIZES,), columns=6),
        Card((MAINTENANCE,)),
        Card((LETTERS,)),
        Card((REJECTED,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        step = step_of(span)[0]
        ranges = {"since": inner[0], "until": inner[1]}
        charts = {"step": step, "since": span[0], "until": span[1]}
        letters: dict[str, Any] = {
            **ranges,
            "topics": _log_topics(),
            "reasons": tuple(Reason),
            "matches": matching(view, dead_letters.SEARCHED),
        }
        return {
            "counts": want("pipeline_counts", pin.commit, metrics=tuple(VERDICTS), **charts),
            "means": want("pipeline_means", pin.commit, metrics=tuple(f"{one}_seconds" for one in PHASES), **charts),
            "newest": want("pipeline_newest", pin.commit, since=pin.as_of - NEWEST, metrics=chain.MEASURED),
            "ahead": want("clock_ahead", pin.commit, since=pin.as_of - SHOWN),
            "late": want("late_events", pin.commit, **charts),
            "late_ones": want("late_events", pin.commit, step=step, **ranges),
            "positions": want("pipeline_positions", pin.commit),
            "letters": want("dead_letters_by_reason", pin.commit, **letters),
            "samples": want("dead_letter_samples", pin.commit, **letters),
            "letter_rows": want(
                "dead_letter_rows", pin.commit, **letters,
                **ordering(view, REJECTED, self.page.settings.rows_shown, dead_letters.WHERE_IT_WAS),
            ),
            "sizes": want("table_sizes", pin.commit, tables=_sizes()),
            "maintenance": want("maintenance", pin.commit, **ranges, most=RUNS_SHOWN),
        }  # fmt: skip

    def found_parts(self, found: Found) -> dict[str, Part]:
        letters = found.tables["letters"]
        count = sum(row["letters"] for row in letters)
        rows, most, now = found.tables["letter_rows"], self.page.settings.rows_shown, now_utc()
        return {
            **self.legend("messages_time", {name.replace("_", " "): colour for name, colour in VERDICTS.items()}),
            **self.legend("phases_time", PHASES),
            **self.legend("late_time", _late_colours(found.tables["late"])),
            **self.facet(FIND, found.view, ()),
            f"list.{CHAIN.name}": {
                "rows": [
                    chain.link_row(one)
                    for one in chain.links(
                        found.tables["newest"], found.tables["positions"], found.tables["ahead"], self.page.pulse(), now
                    )
                ]
            },
            f"list.{LATE.name}": {"rows": _late(found.tables["late_ones"])},
            f"list.{PARTITIONS.name}": {"rows": [_partition(row) for row in found.tables["positions"]]},
            f"list.{LETTERS.name}": {
                "rows": [dead_letters.by_reason(row, found.tables["samples"], found.inner[0], now) for row in letters],
                "words": f"{exactly(count)} in this range" if count else "",
            },
            f"list.{REJECTED.name}": {
                "rows": [dead_letters.letter_row(row) for row in rows],
                "words": shown_words(found.view, len(rows), most, count),
                **order_part(found.view, REJECTED, most, count),
            },
            f"list.{SIZES.name}": {
                "rows": [_size(row) for row in found.tables["sizes"]],
                "words": _bytes(sum(row["bytes"] or 0 for row in found.tables["sizes"])) + " in all",
            },
            f"list.{MAINTENANCE.name}": {"rows": [_run(row) for row in found.tables["maintenance"]]},
        }

    def draw_charts(self, found: Found) -> None:
        colours = look.tokens(found.view.theme)
        _, width = step_of(found.span)
        span, brush = found.span, found.view.brush
        counts = binned(found.tables["counts"], itemgetter("metric"), width)
        verdicts = {name: colours[colour] for name, colour in VERDICTS.items()}
        self.chart("messages_time", TimeChart, TimeBars(counts, verdicts, width, span, brush, "messages"), self.brushed)
        late = binned(found.tables["late"], lambda row: visible(row["topic"]), width)
        topics = {topic: colours[colour] for topic, colour in _late_colours(found.tables["late"]).items()}
        self.chart("late_time", TimeChart, TimeBars(late, topics, width, span, brush, "events"), self.brushed)
        spent: dict[tuple[datetime, str], list[float]] = defaultdict(list)
        for row in found.tables["means"]:
            spent[rebinned(row["moment"], width), row["metric"].removesuffix("_seconds")].append(row["mean"])
        means = {key: sum(values) / len(values) for key, values in spent.items()}
        phases = {name: colours[colour] for name, colour in PHASES.items()}
        bars = TimeBars(means, phases, width, span, brush, "s", "0.000")
        self.chart("phases_time", TimeChart, bars, self.brushed)


def _log_topics() -> tuple[str, ...]:
    """The topics that ingest reads; ours where sources.yaml is wrong: ingest says how."""
    try:
        return load_sources().log_topics
    except UserError:
        return tuple(TOPICS)


def _late_colours(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The topics of late events to their colours; of many topics some share one."""
    topics = sorted({visible(row["topic"]) for row in rows})
    return dict(zip(topics, cycle(LATE_COLOURS), strict=False))


def _late(rows: Iterable[Mapping[str, Any]]) -> list[Part]:
    """A row a topic, the one with the most late events first."""
    by_topic: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_topic[row["topic"]].append(row)
    counts = {topic: sum(row["n"] for row in steps) for topic, steps in by_topic.items()}
    return [
        {
            "key": topic,
            "topic": visible(topic),
            "late": exactly(int(counts[topic])),
            "late_by": _length(max(row["late_s"] for row in by_topic[topic])),
            "most_at": iso_ms(max(by_topic[topic], key=itemgetter("n"))["moment"]),
        }
        for topic in sorted(counts, key=lambda topic: (-counts[topic], topic))
    ]


def _length(late_s: float) -> str | None:
    """None where ingest did not say."""
    if not late_s:
        return None
    if late_s < 120:
        return chain.seconds(late_s)
    return f"{short(late_s / 60, 0)}{THIN}min" if late_s < 7200 else f"{short(late_s / 3600, 1)}{THIN}h"


@cache
def _sizes() -> Fragment:
    """A row a table of the contract: its rows, files and bytes."""
    one = (
        "SELECT :name_{0} AS name, SUM(record_count) AS row_count, COUNT(*) AS files, SUM(file_size_in_bytes) AS bytes "
        "FROM TABLE(TABLE_FILES(:path_{0}))"
    )
    tables = list(TABLES.values())
    names = {f"name_{place}": table.name for place, table in enumerate(tables)}
    paths = {f"path_{place}": full_name(table) for place, table in enumerate(tables)}
    return Fragment(" UNION ALL ".join(one.format(place) for place in range(len(tables))), names | paths)


def _size(row: Mapping[str, Any]) -> Part:
    return {
        "key": row["name"],
        "table": row["name"],
        "rows": exactly(row["row_count"] or 0),
        "files": exactly(row["files"]),
        "size": _bytes(row["bytes"] or 0),
    }


def _bytes(count: int) -> str:
    if count < 100_000:
        return f"{short(count / 1000, 1 if count < 1000 else 0)}{THIN}KB"
    return f"{short(count / 1_000_000, 1)}{THIN}MB"


def _partition(row: Mapping[str, Any]) -> Part:
    return {
        "key": f"{row['topic']} {row['source_partition']}",
        "topic": visible(row["topic"]),
        "partition": row["source_partition"],
        "offset": exactly(row["next_offset"]),
        "behind": None if row["read_to"] is None else chain.seconds(chain.behind_s(row)),
        "read_to": iso_ms(row["read_to"]),
        "first": iso_ms(row["first_event_at"]),
    }


def _run(row: Mapping[str, Any]) -> Part:
    return {
        "key": iso_ms(row["started_at"]),
        "at": iso_ms(row["started_at"]),
        "took": chain.seconds(row["seconds"]),
        "merged": exactly(row["files_merged"]),
        "written": exactly(row["files_written"]),
        "deleted": exactly(row["files_deleted"]),
        "size": _bytes(row["bytes_deleted"]),
        "commits": exactly(row["commits_expired"]),
        "rows": exactly(row["rows_expired"]),
    }
