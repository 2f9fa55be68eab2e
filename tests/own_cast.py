"""A config/ of a shop's own: what is shipped, and the files that a test adds; and the shop that is run by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from lakehouse import ROOT
from tests.conftest import NOON

EXAMPLE = ROOT / "examples" / "payments"
_SHOP = """
import json, sys
from datetime import timedelta
from pathlib import Path
from lakehouse.settings.sources import config_path
from tests.conftest import NOON, Shop

shop = Shop(Path(sys.argv[1]), kpis={"time_limit": "0.3 s"})
shop.alerts = config_path().parent / "alerts.yaml"
for what, *given in json.load(sys.stdin):
    match what:
        case "at":
            shop.now = NOON + timedelta(seconds=given[0])
        case "send":
            shop.send(*given)
        case "publish":
            shop.publish()
        case "tick":
            shop.ingest.core.tick()
        case "sweep":
            print(shop.ingest.catalog.sweep_orphans(timedelta(0)), file=sys.stderr)
print(json.dumps({table: shop.rows(table) for table in sys.argv[2:]}, default=str))
shop.close()
"""


class Own:
    """A copy of config/, and a data directory."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.data_dir = folder / "data"
        shutil.copytree(ROOT / "config", self.config)
        self.settings = self.config / "tillwatch.yaml"

    def add(self, name: str, text: str | None = None) -> Path:
        """A file of config/; without a text that of the example."""
        path = self.config / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((EXAMPLE / name).read_text() if text is None else text)
        return path

    def take_away(self, name: str) -> None:
        (self.config / name).unlink()

    @property
    def environment(self) -> dict[str, str]:
        return {"TILLWATCH_DATA_DIR": str(self.data_dir), "TILLWATCH_CONFIG": str(self.settings)}

    def run(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | self.environment | more
        line = [sys.executable, *words]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, env=environment, cwd=ROOT)

    def shop(self, steps: list[Any], *tables: str) -> dict[str, list[dict[str, Any]]]:
        """Rows of tables after these steps: at seconds past noon, send, publish, tick."""
        done = self.run("-c", _SHOP, str(self.data_dir), *tables, stdin=json.dumps(steps))
        assert done.returncode == 0, done.stderr
        found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
        return found


def payment(number: int, at: datetime = NOON, **fields: Any) -> list[Any]:
    """A step that sends a payment."""
    given = {"payment_id": f"p-{number}", "order_id": f"o-{number}", "amount": "2.50", "state": "CAPTURED"}
    return ["send", "payments_topic", given | {"payment_time": at.isoformat()} | fields]
