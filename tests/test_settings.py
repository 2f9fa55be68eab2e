"""Settings: every one listed in the file, and each wrong one answered with a sentence."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from console.settings import ConsoleSettings
from lakehouse import ROOT
from lakehouse.rules.load import load_rules
from lakehouse.settings.base import Section, Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.settings.sources import SECTIONS
from lakehouse.user_error import UserError
from notifier.routing.load import load_routing
from notifier.settings import NotifierSettings
from pipeline.settings import IngestSettings, RetentionSettings, RulesSettings, check_spans
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
        ("TILLWATCH_DREMIO_PROTOCOL", "jdbc", DremioSettings, "'dremio.protocol' has the value 'jdbc'"),
        ("TILLWATCH_DREMIO_PLAN_TIMEOUT", "0 s", DremioSettings, "expected more than nothing, like '5 s'"),
        ("TILLWATCH_CONSOLE_ZONE", "Europe/Berln", ConsoleSettings, "no zone (did you mean 'Europe/Berlin'?)"),
        ("TILLWATCH_DREMIO_TOKEN", "tökens", DremioSettings, "expected letters, digits and signs of ASCII"),
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


SECRETS = [
    (cls, name)
    for cls in every_section().values()
    for name, field in cls.model_fields.items()
    if field.annotation is SecretStr
]


@pytest.mark.parametrize(("cls", "name"), SECRETS, ids=lambda value: str(getattr(value, "section", value)))
@pytest.mark.parametrize("bad", ["otter\nkettle", "otter\rkettle", " otter-kettle", "otter\tkettle", "otter\x00kettle"])
def test_a_secret_of_more_than_one_clean_line_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cls: type[Section], name: str, bad: str
) -> None:
    (tmp_path / "secret").write_text(f"{bad}\n", encoding="utf-8", newline="")
    monkeypatch.setenv(f"TILLWATCH_{cls.section}_{name}_FILE".upper(), str(tmp_path / "secret"))
    with pytest.raises(UserError, match=rf"'{cls.section}\.{name}' has the value '\(secret\)'.*one line") as error:
        cls.load()
    assert "otter" not in str(error.value)
    assert "kettle" not in str(error.value)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ningest: *c\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("ingest: {}\n# café\n".encode("latin-1"), "not UTF-8 text"),
        ("ingest: {}\n".encode("utf-16"), "not UTF-8 text"),
        (b"ingest: {}\x00\n", "special characters are not allowed"),
        (b"ingest: {}\ningest: {}\n", "key 'ingest' stands twice"),
        (b"ingest:\n  batch_rows: 1\n  batch_rows: 2\n", "key 'batch_rows' stands twice"),
        (BOMB.encode(), "'*a' at line 2 stands for a list or a mapping"),
        (b"ingest: &a [*a]\n", "stands for a list or a mapping"),
        (b"ingest: " + b"[" * 5000, "nested too deep"),
        (b"ingest: " + b"{a: " * 5000, "nested too deep"),
        (b"port_offset: 2026-13-01\n", "one of its values is none"),
        (b"port_offset: !!int ''\n", "one of its values is none"),
        (b"port_offset: " + b"9" * 5000, "one of its values is none"),
        (b"? [a]\n: b\n", "cannot be read"),
        (b"a: !!python/object:os.system x\n", "cannot be read"),
        (None, "directory"),
    ],
)
@pytest.mark.parametrize("read", ["settings", "routes", "alerts"])
def test_a_file_that_is_no_good_yaml_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str, read: str
) -> None:
    path = tmp_path / "t.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    readers: dict[str, Callable[[], object]] = {
        "settings": Shared.load,
        "routes": lambda: load_routing(path, {}),
        "alerts": lambda: load_rules(path),
    }
    if read == "settings":
        monkeypatch.setenv("TILLWATCH_CONFIG", str(path))
    with pytest.raises(UserError, match=re.escape(reason)) as error:
        readers[read]()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_an_alias_of_one_value_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_bytes("port_offset: &n 100\ningest: {batch_rows: *n}\n".encode("utf-8-sig"))
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "t.yaml"))
    assert (Shared.load().port_offset, IngestSettings.load().batch_rows) == (100, 100)


@pytest.mark.parametrize("name", ["x" * 300, "file/below.yaml"])
def test_a_settings_file_that_cannot_be_looked_at_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / name))
    with pytest.raises(UserError, match=r"does not exist|cannot be read: File name too long"):
        Shared.load()


def test_a_span_beyond_counting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_INGEST_HEARTBEAT_EVERY", "99999999999 d")
    with pytest.raises(UserError, match="longer than can be counted"):
        IngestSettings.load()


def test_a_data_directory_whose_profile_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "profile").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is no text"):
        open_data_dir(tmp_path, "embedded")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"GATHER": "11 min"}, "'notifier.gather' has the value '11 min'"),
        ({"GATHER": "0 ms"}, "'notifier.gather' has the value '0 ms'"),
        ({"SETTLE": "11 min"}, "'notifier.settle' has the value '11 min'"),
        ({"KEEP": "23 h"}, "'notifier.keep' has the value '23 h'"),
        ({"KEEP": "0 d"}, "'notifier.keep' has the value '0 ms'"),
        ({"OVERLAP": "1 ms"}, "'notifier.overlap' has the value '1 ms'"),
        ({"OVERLAP": "2 d"}, "'notifier.overlap' has the value '2 d'"),
        ({"SWEEP_EVERY": "2 d"}, "'notifier.sweep_every' has the value '2 d'"),
        ({"GIVE_UP": "1 ms"}, "'notifier.give_up' has the value '1 ms'"),
        ({"SLACK_PER_S": "inf"}, "'notifier.slack_per_s' has the value 'inf'"),
        ({"GIVE_UP": "3 d", "KEEP": "2 d"}, "'notifier.give_up' is 3 d, which is not shorter than notifier.keep (2 d)"),
        ({"GIVE_UP": "10 min", "UNREADABLE": "10 min"}, "'notifier.unreadable' is 10 min, which is not shorter than"),
        ({"EMAIL_FROM": "müller@shop.example"}, "expected an address like"),
        ({"EMAIL_TO": "a..b@shop.example"}, "'a..b@shop.example' is no address"),
        ({"EMAIL_TO": "alice@shop.example,bob@müller.example"}, "'bob@müller.example' is no address"),
        ({"EMAIL_TO": "alice.@shop.example"}, "'alice.@shop.example' is no address"),
        ({"EMAIL_TO": "alice@shop..example"}, "'alice@shop..example' is no address"),
        ({"SLACK_TOKEN": "xoxb otter"}, "has only ASCII and no blank"),
        ({"API_TOKEN": "öttер"}, "has only ASCII and no blank"),
    ],
)
def test_settings_of_the_notifier_that_do_no_good_are_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], sentence: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"TILLWATCH_NOTIFIER_{name}", value)
    with pytest.raises(UserError, match=re.escape(sentence)):
        NotifierSettings.load().check()


def test_an_alert_is_never_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_ALERTS_MAX_AGE", "0 s")
    with pytest.raises(UserError, match=r"'alerts\.max_age' has the value '0 ms'"):
        AlertsSettings.load()
