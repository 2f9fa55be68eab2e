"""Pipeline: the way of an event from its producer to this screen, each part with its limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from console import look
from console.drill.charts import TimeBars, TimeChart, step_of
from console.drill.found import Found
from console.drill.tab import DrillTab, binned, rebinned
from console.feed.asker import Want, want
from console.feed.numbers import THIN, exactly, short
from console.feed.pins import Pin
from console.feed.snapshot import now_utc
from console.parts import Part, iso_ms
from console.tab import Card, ChartPlace, ListColumn, RowList
from console.view import Span, View
from console.words import STALE_S
from lakehouse.decode import REASONS, Reason
from lakehouse.dremio.statement import Fragment
from lakehouse.sources import load_sources
from lakehouse.tables import TABLES, full_name
from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError

VERDICTS = {"good": "green", "duplicate": "sky", "key_conflict": "purple", "bad": "state-bad"}
"""What became of a message, to its colour. Late ones are good too, and would be counted twice."""
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
LETTERS_READ = 100
RUNS_SHOWN = 20
NEWEST = timedelta(minutes=5)

LATE_S = 10.0
"""A partition that was not read to the end for so long lags."""
BATCH_S = 2.0
LOOK_S = 1.0
TICK_S = 0.25

CHAIN = RowList(
    "chain",
    "From event to screen",
    (
        ListColumn("Part", "part"),
        ListColumn("State", "state_words", css="state"),
        ListColumn("Now", "now", "number"),
        ListColumn("Limit", "limit", "number"),
        ListColumn("What it is", "words", hover="{words}", css="wide"),
    ),
    "Nothing is known yet.",
    also=("newest", "positions"),
)
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
LETTERS = RowList(
    "dead_letters",
    "Dead letters",
    (
        ListColumn("Newest", "newest_at", "time"),
        ListColumn("Topic", "topic"),
        ListColumn("Reason", "reason", hover="{meaning}"),
        ListColumn("Count", "count", "number"),
        ListColumn("The newest of them", "sample", hover="{sample}", css="wide"),
        ListColumn("See and send again", "command", hover="{command}", css="spare"),
    ),
    "Every message of this range could be read.",
    exports="letters",
    also=("samples",),
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


class Link(NamedTuple):
    """A part of the chain: what it takes now and at most, in words of its own; unit s, or none for a count."""

    part: str
    now: float | None
    limit: float | None
    words: str
    unit: str = "s"


class PipelineTab(DrillTab):
    """What ingest, publishes, the console's questions and its pages take."""

    title = "Pipeline"
    order = 50
    steady = False
    cards = (
        Card((CHAIN,)),
        Card((ChartPlace("messages_time", "Messages over time", "by what became of them", "counts"),), columns=6),
        Card((ChartPlace("phases_time", "Seconds of a batch", "by phase, the mean of a minute", "means"),), columns=6),
        Card((PARTITIONS,), columns=6),
        Card((SIZES,), columns=6),
        Card((MAINTENANCE,)),
        Card((LETTERS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        step = step_of(span)[0]
        ranges = {"since": inner[0], "until": inner[1]}
        charts = {"step": step, "since": span[0], "until": span[1]}
        letters: dict[str, Any] = {"topics": _log_topics(), "reasons": tuple(Reason)}
        return {
            "counts": want("pipeline_counts", pin.commit, metrics=tuple(VERDICTS), **charts),
            "means": want("pipeline_means", pin.commit, metrics=tuple(f"{one}_seconds" for one in PHASES), **charts),
            "newest": want("pipeline_newest", pin.commit, since=pin.as_of - NEWEST, metrics=("lag", "batch_seconds")),
            "positions": want("pipeline_positions", pin.commit),
            "letters": want("dead_letters_by_reason", pin.commit, **ranges, **letters),
            "samples": want("dead_letters", pin.commit, **ranges, **letters, most=LETTERS_READ),
            "sizes": want("table_sizes", pin.commit, tables=_sizes()),
            "maintenance": want("maintenance", pin.commit, **ranges, most=RUNS_SHOWN),
        }

    def found_parts(self, found: Found) -> dict[str, Part]:
        letters = found.tables["letters"]
        count = sum(row["letters"] for row in letters)
        return {
            **self.legend("messages_time", {name.replace("_", " "): colour for name, colour in VERDICTS.items()}),
            **self.legend("phases_time", PHASES),
            f"list.{CHAIN.name}": {"rows": [_link(one) for one in self._chain(found)]},
            f"list.{PARTITIONS.name}": {"rows": [_partition(row) for row in found.tables["positions"]]},
            f"list.{LETTERS.name}": {
                "rows": [_letters(row, found.tables["samples"]) for row in letters],
                "words": f"{exactly(count)} in this range" if count else "",
            },
            f"list.{SIZES.name}": {
                "rows": [_size(row) for row in found.tables["sizes"]],
                "words": _bytes(sum(row["bytes"] or 0 for row in found.tables["sizes"])) + " in all",
            },
            f"list.{MAINTENANCE.name}": {"rows": [_run(row) for row in found.tables["maintenance"]]},
        }

    def _chain(self, found: Found) -> Iterable[Link]:
        newest = {(row["topic"], row["metric"]): row["value"] for row in found.tables["newest"]}
        waiting = [value for (_, metric), value in newest.items() if metric == "lag"]
        behind = [_behind(row) for row in found.tables["positions"] if row["read_to"] is not None]
        pulse = self.page.pulse()
        unread = sum(waiting) if waiting else None
        yield Link("in the log", unread, None, "messages that ingest had not read when it last told", "")
        yield Link("reading", max(behind, default=None), LATE_S, "how far it is behind the log, at the worst partition")
        batch = next((value for (_, metric), value in newest.items() if metric == "batch_seconds"), None)
        yield Link("publish", batch, BATCH_S, "a batch, from reading to its commit, mean of the last minute")
        age = None if pulse.as_of is None else max(0.0, (now_utc() - pulse.as_of).total_seconds())
        # Rounded, so that an age that only grows is not sent at every tick.
        yield Link("newest commit", None if age is None else float(int(age)), STALE_S, "age of the newest commit")
        yield Link("questions", pulse.asked_s, LOOK_S, "all questions of the open tabs at a new commit")
        yield Link("statements", pulse.statements, None, "statements a minute, whoever looks", "")
        yield Link("screen", pulse.tick_s, TICK_S, "drawing what is new on one page, mean")
        yield Link("viewers", float(pulse.viewers), None, "pages that are open", "")

    def draw_charts(self, found: Found) -> None:
        colours = look.tokens(found.view.theme)
        _, width = step_of(found.span)
        span, brush = found.span, found.view.brush
        counts = binned(found.tables["counts"], itemgetter("metric"), width)
        verdicts = {name: colours[colour] for name, colour in VERDICTS.items()}
        self.chart("messages_time", TimeChart, TimeBars(counts, verdicts, width, span, brush, "messages"), self.brushed)
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


def _behind(row: Mapping[str, Any]) -> float:
    behind: timedelta = row["updated_at"] - row["read_to"]
    return max(0.0, behind.total_seconds())


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


def _seconds(value: float) -> str:
    return f"{short(value, 2)}{THIN}s"


def _link(one: Link) -> Part:
    state = "none" if one.now is None else "open" if one.limit is not None and one.now > one.limit else "resolved"
    said = {"none": "n/a", "open": "over its limit", "resolved": "ok" if one.limit is not None else ""}

    def words(value: float | None) -> str | None:
        if value is None:
            return None
        return _seconds(value) if one.unit else short(value, 0)

    return {
        "key": one.part,
        "part": one.part,
        "state": state,
        "state_words": said[state],
        "now": words(one.now),
        "limit": words(one.limit),
        "words": one.words,
    }


def _partition(row: Mapping[str, Any]) -> Part:
    return {
        "key": f"{row['topic']} {row['source_partition']}",
        "topic": visible(row["topic"]),
        "partition": row["source_partition"],
        "offset": exactly(row["next_offset"]),
        "behind": None if row["read_to"] is None else _seconds(_behind(row)),
        "read_to": iso_ms(row["read_to"]),
        "first": iso_ms(row["first_event_at"]),
    }


def _letters(row: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> Part:
    of_this = (one for one in samples if (one["topic"], one["reason"]) == (row["topic"], row["reason"]))
    sample = next(of_this, None)
    text = ""
    if sample is not None:
        payload = (sample["payload"] or b"")[:400].decode("utf-8", "replace")
        text = visible(f"{sample['detail']}: {payload}" if payload else sample["detail"])
    return {
        "key": f"{row['topic']} {row['reason']}",
        "newest_at": iso_ms(row["newest_at"]),
        "topic": visible(row["topic"]),
        "reason": row["reason"],
        "meaning": REASONS.get(row["reason"], ""),
        "count": exactly(row["letters"]),
        "sample": text,
        "command": f"tillwatch producers dead-letters show --reason {row['reason']}",
    }


def _run(row: Mapping[str, Any]) -> Part:
    return {
        "key": iso_ms(row["started_at"]),
        "at": iso_ms(row["started_at"]),
        "took": _seconds(row["seconds"]),
        "merged": exactly(row["files_merged"]),
        "written": exactly(row["files_written"]),
        "deleted": exactly(row["files_deleted"]),
        "size": _bytes(row["bytes_deleted"]),
        "commits": exactly(row["commits_expired"]),
        "rows": exactly(row["rows_expired"]),
    }
