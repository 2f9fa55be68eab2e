"""`tillwatch demo`: everything on this machine, one terminal, one data directory. `tillwatch stack` plays by it too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lakehouse import ROOT
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from tillwatch import supervisor
from tillwatch.cast import Cast
from tillwatch.leftovers import MARK
from tillwatch.parts import BY_NAME, Part
from tillwatch.play import INCIDENT_AT_S, LATER, play
from tillwatch.settings import DemoSettings

READERS_PORTS = ("sandbox", "smtp", "notifier")


def run(settings: DemoSettings, shared: Shared, laid_over: str | None = None) -> int:
    """Run until Ctrl-C, SIGTERM, the end of the terminal or settings.run_for; the exit code. `laid_over`: what there is
    to say of --with.
    """
    data_dir = open_data_dir(shared.data_dir, "embedded").resolve()
    parts = programs(settings, shared)
    cast = Cast(
        title="tillwatch demo",
        ports=("gateway", "console", "ingest", *READERS_PORTS, *(["lite"] if settings.lite else [])),
        programs=parts,
        environment=demo_environment(shared, data_dir, parts),
        log_ends=lambda: _event_log_ends(data_dir),
        is_new=lambda: not (data_dir / "events.db").exists() and not (data_dir / "catalog.db").exists(),
        clean_up="make clean-data",
        status="make status",
        laid_over=laid_over,
    )
    return play(cast, settings, shared, data_dir)


def programs(settings: DemoSettings, shared: Shared) -> list[supervisor.Program]:
    """What supervisord runs."""
    return [
        supervisor.Program(name, part.argv(*words(part, settings)), wiring(name, shared), autostart=name not in LATER)
        for name, part in BY_NAME.items()
        if name not in unwanted(settings)
    ]


def unwanted(settings: DemoSettings) -> set[str]:
    """The parts that settings leave out."""
    wanted = {"lite": settings.lite, "producers": settings.shoppers}
    return {name for name, is_wanted in wanted.items() if not is_wanted}


def words(part: Part, settings: DemoSettings, sink: str = "log") -> list[str]:
    """What a part is told beside its command: the shoppers' rate and incident."""
    if part.name != "producers":
        return []
    shoppers = ["shoppers", "--rate", f"{settings.rate:g}", *(("--flat",) if settings.flat else ())]
    if settings.incident:
        shoppers += ["--incident", f"payments@{INCIDENT_AT_S}s"]
    return [*shoppers, "--sink", sink]


def wiring(name: str, shared: Shared) -> dict[str, str]:
    """Settings of one part. Sandbox and notifier are wired to each other here, for only the demo knows both.

    What the sandbox does not stand in for stays off, whatever the shell says: nobody real is written to.
    """
    if name != "notifier":
        return {}
    # Here, for it takes a while to load what channels send with.
    from notifier.channels import fields_given

    return {
        **{f"TILLWATCH_NOTIFIER_{name}".upper(): "" for name in fields_given()},
        "TILLWATCH_NOTIFIER_SLACK_BASE_URL": f"http://127.0.0.1:{shared.port('sandbox')}/api/",
        "TILLWATCH_NOTIFIER_SLACK_TOKEN": "xoxb-sandbox",
        "TILLWATCH_NOTIFIER_SLACK_CHANNEL": "C0ONCALL",
        "TILLWATCH_NOTIFIER_SLACK_APP_TOKEN": "xapp-sandbox",
        "TILLWATCH_NOTIFIER_PEOPLE": str(ROOT / "embedded" / "sandbox" / "people.yaml"),
        "TILLWATCH_NOTIFIER_HEARTBEAT_URL": "",
        "TILLWATCH_NOTIFIER_PAGERDUTY_URL": f"http://127.0.0.1:{shared.port('sandbox')}/v2/enqueue",
        "TILLWATCH_NOTIFIER_PAGERDUTY_KEY": f"oncall={'0' * 32}",
        "TILLWATCH_NOTIFIER_WEBHOOK_URL": f"oncall=http://127.0.0.1:{shared.port('sandbox')}/hooks/oncall",
        "TILLWATCH_NOTIFIER_SMTP_HOST": "127.0.0.1",
        "TILLWATCH_NOTIFIER_SMTP_PORT": str(shared.port("smtp")),
        "TILLWATCH_NOTIFIER_SMTP_SECURITY": "none",
        "TILLWATCH_NOTIFIER_SMTP_USER": "",
        "TILLWATCH_NOTIFIER_SMTP_PASSWORD": "",
        "TILLWATCH_NOTIFIER_EMAIL_FROM": "tillwatch@shop.example",
        "TILLWATCH_NOTIFIER_EMAIL_TO": "oncall@shop.example",
    }


def demo_environment(
    shared: Shared, data_dir: Path, parts: Sequence[supervisor.Program], **more: str
) -> dict[str, str]:
    """What all parts get: this process's environment, but the demo's own data and gateway.

    A shell that is set up for production must not make the demo read there, nor write to real people.
    """
    ours = {
        "TILLWATCH_DATA_DIR": str(data_dir),
        "TILLWATCH_DREMIO_URI": f"grpc://localhost:{shared.port('gateway')}",
        "PYTHONUNBUFFERED": "1",
        MARK: str(data_dir),
        **more,
    }
    overridden = {*ours, *(name for part in parts for name in part.environment)}
    # A value from a file would win over ours.
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in overridden} | ours


def _event_log_ends(data_dir: Path) -> dict[str, int]:
    from embedded.log import EventLog
    from lakehouse.sources import load_sources

    with EventLog(data_dir / "events.db") as log:
        return {topic: log.bounds(topic)[1] for topic in load_sources().log_topics}
