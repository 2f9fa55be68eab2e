"""Settings: every one listed in the file, and each wrong one answered with a sentence."""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from lakehouse.settings import (
    ROOT,
    SECTIONS,
    DremioSettings,
    IngestSettings,
    OrdersSettings,
    RetentionSettings,
    RulesSettings,
    Section,
    Shared,
    UserError,
    check_spans,
    claim_port,
    open_data_dir,
)
from tillwatch import settings_page
from tillwatch.settings_page import every_section


def test_the_table_of_operations_is_what_the_code_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_page.main(["--check"])
    old = tmp_path / "operations.md"
    old.write_text(settings_page.PAGE.read_text(encoding="utf-8").replace("`15 d`", "`14 d`"), encoding="utf-8")
    monkeypatch.setattr(settings_page, "PAGE", old)
    with pytest.raises(UserError, match=r"run python -m tillwatch\.settings_page --write"):
        settings_page.main(["--check"])
    settings_page.main(["--write"])
    settings_page.main(["--check"])


def test_the_settings_file_lists_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommented, the file must parse, name every setting, and give the very defaults."""
    monkeypatch.delenv("TILLWATCH_DATA_DIR")
    text = (ROOT / "config" / "tillwatch.yaml").read_text(encoding="utf-8")
    shown = yaml.safe_load(re.sub(r"^(\s*)# (\w+:.*)$", r"\1\2", text, flags=re.MULTILINE))
    for section, cls in every_section().items():
        known = (
            {name: value for name, value in shown.items() if name not in SECTIONS} if not section else shown[section]
        )
        assert set(known) == set(cls.model_fields), section
        assert cls(**{n: v for n, v in known.items() if v != ""}) == cls(), section


@pytest.mark.parametrize(
    ("variable", "value", "cls", "sentence"),
    [
        (
            "TILLWATCH_RULES_MAX_LOOKBACK",
            "15",
            RulesSettings,
            "'rules.max_lookback' has the value '15': expected a number",
        ),
        ("TILLWATCH_PORT_OFFSET", "many", Shared, "'port_offset' has the value 'many'"),
        ("TILLWATCH_DREMIO_URI", "localhost", DremioSettings, "expected grpc://HOST:PORT"),
        ("TILLWATCH_ORDERS_COUNTED_STATUSES", '["LOST"]', OrdersSettings, "expected one or more of CREATED"),
        ("TILLWATCH_ORDERS_COUNTED_STATUSES", "CREATED", OrdersSettings, "orders"),
        ("TILLWATCH_INGEST_PUBLISH_EVRY", "1 s", IngestSettings, "Unknown setting TILLWATCH_INGEST_PUBLISH_EVRY"),
        ("TILLWATCH_INGST_PUBLISH_EVERY", "1 s", IngestSettings, "Unknown setting TILLWATCH_INGST_PUBLISH_EVERY"),
        ("TILLWATCH_DREMIO_PASSWORD_FILE", "/nowhere", DremioSettings, "names /nowhere, which cannot be read"),
        ("TILLWATCH_CONFIG", "/nowhere.yaml", Shared, "TILLWATCH_CONFIG names /nowhere.yaml, which does not exist"),
    ],
)
def test_a_wrong_variable_is_answered_with_key_value_and_what_would_do(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, cls: type[Section], sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=re.escape(sentence)):
        cls.load()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ingst:\n  publish_every: 1 s\n", "Unknown setting 'ingst'"),
        ("ingest:\n  publish_evry: 1 s\n", "Unknown setting 'ingest.publish_evry'"),
        ("ingest: 5\n", "Section 'ingest' in"),
        ("ingest:\n  publish_every: 5\n", "'ingest.publish_every' has the value '5': expected a number with a unit"),
        ("- a\n", "holds no `section:` lines"),
        ("a: [\n", "cannot be read"),
    ],
)
def test_a_wrong_settings_file_is_answered_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "t.yaml").write_text(text)
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "t.yaml"))
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        IngestSettings.load()
    assert "\n" not in str(error.value)


def test_the_environment_wins_over_the_file_and_a_secret_file_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "t.yaml").write_text("dremio:\n  user: of-file\n  password: of-file\n")
    (tmp_path / "secret").write_text("of-secret\n")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "t.yaml"))
    monkeypatch.setenv("TILLWATCH_DREMIO_PASSWORD", "of-environment")
    monkeypatch.setenv("TILLWATCH_DREMIO_PASSWORD_FILE", str(tmp_path / "secret"))
    settings = DremioSettings.load()
    assert settings.user == "of-file"
    assert settings.password.get_secret_value() == "of-secret"
    assert "of-secret" not in repr(settings)


def test_a_secret_file_that_is_no_text_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("TILLWATCH_DREMIO_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(UserError, match="which cannot be read: it is no text"):
        DremioSettings.load()


def test_a_port_offset_moves_every_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_PORT_OFFSET", "100")
    assert Shared.load().port("console") == 5106
    assert DremioSettings.load().uri == "grpc://localhost:32110"


def test_a_busy_port_is_refused_with_its_holder_and_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} is held by .*; end it or change TILLWATCH_PORT_OFFSET"):
            claim_port(port)
    claim_port(port)


def test_a_data_directory_of_another_profile_is_refused(tmp_path: Path) -> None:
    open_data_dir(tmp_path / "d", "stack")
    with pytest.raises(UserError, match="belongs to the profile 'stack', not 'embedded'; set TILLWATCH_DATA_DIR"):
        open_data_dir(tmp_path / "d", "embedded")


def test_raw_rows_must_outlive_every_event_that_may_still_come() -> None:
    shared = Shared.load(max_event_age=timedelta(days=29))
    with pytest.raises(UserError, match="raise it or lower one of the other two"):
        check_spans(RetentionSettings.load(), shared)
    assert check_spans(RetentionSettings.load(), Shared.load(max_event_age=None)).raw is None
