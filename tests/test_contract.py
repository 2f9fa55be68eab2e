"""The contract: its page is what the code says, and what decode gives fits the tables."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from lakehouse import contract
from lakehouse.events import EVENT_TYPE, FIELDS, REASONS, TIME_FIELD, TOPICS, Rejected, decode
from lakehouse.tables import DEAD_LETTERS, RAW_OF_TOPIC, TABLES, arrow_schema
from lakehouse.user_error import UserError
from tests.test_events import SAMPLES, payload

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_page_is_what_the_code_says() -> None:
    contract.main(["--check"])


def test_an_old_page_is_refused_with_the_command_that_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "PAGE", tmp_path / "docs" / "contract.md")
    with pytest.raises(UserError, match=r"run python -m lakehouse\.contract --write"):
        contract.main(["--check"])
    contract.main(["--write"])
    contract.main(["--check"])


def test_the_page_names_every_field_reason_table_column_and_question(capsys: pytest.CaptureFixture[str]) -> None:
    contract.main([])
    page = capsys.readouterr().out
    names = [field.name for fields in FIELDS.values() for field in fields]
    names += [*TOPICS, *REASONS, *TABLES, *(path.stem for path in contract.QUESTIONS.glob("*.sql"))]
    names += [column.name for table in TABLES.values() for column in table.columns]
    assert [name for name in names if name not in page] == []


def test_every_question_says_in_its_first_line_what_it_answers() -> None:
    for path in contract.QUESTIONS.glob("*.sql"):
        assert path.read_text().startswith("-- "), path.name


@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_has_a_value_for_every_column_of_its_table_and_fits_its_type(topic: str) -> None:
    table = RAW_OF_TOPIC[topic]
    event = decode(topic, payload(SAMPLES[topic]), NOW, None)
    assert not isinstance(event, Rejected)
    lineage = ("ingested_at", "source_partition", "source_offset")
    assert set(EVENT_TYPE[topic].__struct_fields__) == {column.name for column in table.columns} - set(lineage)
    row = msgspec.structs.asdict(event) | {"ingested_at": NOW, "source_partition": 0, "source_offset": 0}
    stored = pa.Table.from_pylist([row], schema=arrow_schema(table))
    assert stored.to_pylist()[0] == row
    for column in table.columns:
        assert stored[column.name].null_count == 0 or not column.required
    assert TIME_FIELD[topic] in {field.name for field in FIELDS[topic]}


def test_dead_letters_name_the_same_reasons_as_decode() -> None:
    assert DEAD_LETTERS.column("reason").doc.split() == list(REASONS)
