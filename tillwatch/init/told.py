"""What `tillwatch init` says: of the sample, and of what it wrote."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.settings.base import Shared
from lakehouse.sources.envelope import Envelope
from lakehouse.texts import visible
from producers.layout import form_by_name
from tillwatch.init.choices import ORDERS, Choices, MessageShape, short
from tillwatch.init.proof import Proof, other_currencies, sums_text
from tillwatch.init.sample import WHOLE, Sample

OLD = Shared.model_fields["max_event_age"].default
"""The settings are written as shipped: older events are rejected."""
_LINES = ("jsonl", "json")
"""Replay reads lines as either."""
_MOST_COLUMNS = 40


def seen(sample: Sample) -> Iterator[str]:
    """The sample, before the questions."""
    yield f"{sample.file}: {_kind(sample)}. Its columns:"
    columns = list(sample.columns)
    for column in columns[:_MOST_COLUMNS]:
        first = " ".join(column.given[0].split()) if column.given else ""
        yield f"  {visible(column.path, 40):<32}  {visible(first, 50)}".rstrip()
    if len(columns) > _MOST_COLUMNS:
        yield f"  … and {len(columns) - _MOST_COLUMNS} more"
    yield "Enter takes the answer in brackets."


def _kind(sample: Sample) -> str:
    count = _many(len(sample.messages), _noun(sample))
    if sample.form == "csv":
        return f"CSV, {sample.delimiter!r} between columns, {sample.encoding.removesuffix('-sig')}, {count}"
    if sample.form == "parquet":
        return f"Parquet, {count}"
    of = "" if sample.envelope is Envelope.PLAIN else f" of {sample.envelope.value}"
    return f"JSON, {count}{of}"


def told(
    folder: Path, sample: Sample, choices: Choices, proof: Proof, source: str, counted: Sequence[str]
) -> Iterator[str]:
    settings = folder.absolute() / "tillwatch.yaml"
    yield f"Written: {folder}, like config/; how messages become events stands in {folder / 'sources.yaml'}"
    yield ""
    yield f"{sample.file}: {_kind(sample)}. It becomes {_counted(choices, proof, counted)}"
    yield from proof.lines()
    for note in _notes(folder, sample, choices, proof, counted):
        yield f"Note: {note}"
    yield ""
    yield "Next:"
    yield f"  export TILLWATCH_CONFIG={shlex.quote(str(settings))}"
    yield "  .venv/bin/tillwatch check"
    if sample.form in (WHOLE, "jsonl"):
        yield f"  .venv/bin/tillwatch sources try {shlex.quote(str(sample.file))}{_of(source, choices)}"
    if sample.form != WHOLE:
        yield f"  .venv/bin/tillwatch producers replay {_replay(sample, source, proof)}"
    yield "  make demo"


def _of(source: str, choices: Choices) -> str:
    return f" --source {source}" if choices.topic == ORDERS else ""


def _counted(choices: Choices, proof: Proof, statuses: Sequence[str]) -> str:
    events = proof.counted(statuses)
    of = _many(len(events), short(choices.topic)[:-1])
    if choices.shape.grain == "line":
        of = f"{_many(len(events), 'line')} of {_many(len(proof.ids), 'order')}"
    sums = sums_text(proof.sums(statuses), choices.currency)
    first, last = min(proof.times), max(proof.times)
    when = f"{first:%Y-%m-%d %H:%M:%S}" + (f" to {last:%Y-%m-%d %H:%M:%S}" if last > first else "")
    return f"{of}{' of ' if sums else ''}{sums}, {when} UTC:"


def _notes(folder: Path, sample: Sample, choices: Choices, proof: Proof, counted: Sequence[str]) -> Iterator[str]:
    yield from choices.notes
    if sample.left_out:
        yield sample.left_out
    if proof.left_out:
        yield f"`select` leaves {_many(proof.left_out, _noun(sample))} out."
    if proof.same:
        of = (
            "lines of an order behind its first one" if choices.shape is MessageShape.REPEATED else "the same as others"
        )
        yield f"{proof.same:,} by event_id and time {of}: they are not stored a second time."
    if proof.refused:
        yield f"{len(proof.refused):,} would be dead letters, the first: {proof.refused[0]}."
    if choices.form is not None and not choices.form.zoned and not choices.zone:
        yield "times have no zone and are read as UTC; `zone:` of the source says another."
    if counted:
        more = len(proof.events) - len(proof.counted(counted))
        status = ", ".join(counted)
        yield f"{more:,} more say how orders went on; an order counts as {status} (orders.counted_statuses)."
    if others := other_currencies(proof, choices.currency):
        rates = folder / "rates.csv"
        yield f"{', '.join(others)}: without rates to {choices.currency} in {rates} such events are dead letters."


def _replay(sample: Sample, source: str, proof: Proof) -> str:
    words = [str(sample.file), "--source", source]
    if form_by_name(sample.file) not in (_LINES if sample.form == "jsonl" else (sample.form,)):
        words += ["--format", sample.form]
    if sample.form == "csv":
        words += ["--delimiter", sample.delimiter] if sample.delimiter != "," else []
        words += ["--encoding", sample.encoding] if sample.encoding not in ("utf-8", "utf-8-sig") else []
    words += ["--skip-bad", "bad.csv"] if proof.refused else []
    is_old = datetime.now(UTC) - min(proof.times) > OLD
    words += ["--rebase-to-now", "1h"] if is_old else ["--original-times"]
    return shlex.join(words)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _noun(sample: Sample) -> str:
    return "line" if sample.tabular else "message"
