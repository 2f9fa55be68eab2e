"""Apache Superset on the gateway: connects, finds the tables, makes a dataset and a chart, and the browser draws it.

    python -m bench superset [--orders 20000] [--pictures FOLDER]

Superset is installed in an environment of its own (tests/clients/superset.lock), with its database in a folder that is
removed, and asked by the HTTP API that its own pages use. Each answer is held against the same SQL asked directly.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

from bench.browser import launch
from bench.door import served
from bench.door_clients import Client
from bench.door_shop import DAY, make
from bench.processes import environment, free_offset
from bench.report import Report
from lakehouse.settings.ports import PORTS
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.client_cast import environment as client_environment

START_WITHIN_S = 180
DRAWN_WITHIN_MS = 90_000
USER = {"username": "admin", "password": "bench"}
PLACE = f"{CATALOG}.{SCHEMA}"
CONFIG = """
SECRET_KEY = {secret!r}
SQLALCHEMY_DATABASE_URI = {database!r}
TALISMAN_ENABLED = False
"""
BY_STATUS = {
    "columns": ["status"],
    "metrics": [
        "count",
        {
            "expressionType": "SIMPLE",
            "column": {"column_name": "order_total"},
            "aggregate": "SUM",
            "label": "revenue",
        },
    ],
    "orderby": [["count", False]],
    "row_limit": 100,
}
SQL_BY_STATUS = (
    f"SELECT status, COUNT(*) AS n, SUM(order_total) AS revenue FROM {PLACE}.orders_processed GROUP BY status"
)
SQL_BY_HOUR = (
    f"SELECT DATE_TRUNC('HOUR', order_ts) AS h, COUNT(*) AS n FROM {PLACE}.orders_processed "
    "WHERE order_ts >= TIMESTAMP '{since}' AND order_ts < TIMESTAMP '{until}' GROUP BY DATE_TRUNC('HOUR', order_ts)"
)


class Superset:
    """Its HTTP API, signed in to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = httpx.Client(timeout=120, trust_env=False)
        token = self._asked("post", "security/login", {**USER, "provider": "db", "refresh": True})["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.headers["X-CSRFToken"] = self._asked("get", "security/csrf_token/")["result"]
        self._session.headers["Referer"] = url

    def made(self, what: str, body: dict[str, Any]) -> int:
        """The number of what was made."""
        return int(self._asked("post", f"{what}/", body)["id"])

    def got(self, path: str) -> Any:
        return self._asked("get", path)["result"]

    def connects(self, uri: str) -> None:
        self._asked("post", "database/test_connection/", {"database_name": "tillwatch", "sqlalchemy_uri": uri})

    def chart(self, dataset: int, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Its rows, as the page of a chart gets them."""
        context = {"datasource": {"id": dataset, "type": "table"}, "force": True, "queries": [query]}
        rows: list[dict[str, Any]] = self._asked("post", "chart/data", context)["result"][0]["data"]
        return rows

    def lab(self, database: int, sql: str) -> list[dict[str, Any]]:
        """What SQL Lab answers."""
        body = {"database_id": database, "sql": sql, "client_id": secrets.token_hex(5), "queryLimit": 1000}
        rows: list[dict[str, Any]] = self._asked("post", "sqllab/execute/", body)["data"]
        return rows

    def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._session.request(method, f"{self.url}/api/v1/{path}", json=body)
        if not answer.is_success:
            raise SystemExit(f"bench: Superset answered {answer.status_code} to {path}: {answer.text[:500]}")
        return answer.json()


@contextmanager
def superset(folder: Path, port: int) -> Iterator[Superset]:
    """Superset with a database of its own, served on that port."""
    python = client_environment("superset")
    config = folder / "superset_config.py"
    database = f"sqlite:///{folder / 'superset.db'}"
    config.write_text(CONFIG.format(secret=secrets.token_hex(32), database=database), encoding="utf-8")
    variables = environment(folder, 0) | {
        "SUPERSET_CONFIG_PATH": str(config),
        "SUPERSET_HOME": str(folder),
        "HOME": str(folder),
        "FLASK_APP": "superset",
    }
    # The script that pip wrote names the folder in which the environment was made.
    program = [str(python), "-c", "from superset.cli.main import superset; superset()"]
    log = folder / "superset.log"
    person = ["--firstname", "a", "--lastname", "b", "--email", "bench@example.com"]
    user = ["--username", USER["username"], "--password", USER["password"]]
    with log.open("wb") as told:
        for words in (["db", "upgrade"], ["fab", "create-admin", *user, *person], ["init"]):
            subprocess.run([*program, *words], env=variables, stdout=told, stderr=told, check=True)
        command = [*program, "run", "--port", str(port), "--with-threads"]
        process = subprocess.Popen(command, env=variables, stdout=told, stderr=told)
    try:
        yield Superset(_up(f"http://127.0.0.1:{port}", process, log))
    finally:
        process.terminate()
        process.wait(30)


def _up(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_WITHIN_S
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=10, trust_env=False).is_success:
                return url
        except httpx.TransportError:
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit(f"bench: Superset did not start: {log.read_text()[-1000:]}") from None
        time.sleep(0.5)


def drawn(url: str, chart: int, words: list[str], picture: Path | None) -> int:
    """How many of the words stand in the chart that a browser draws."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}/login/")
        page.get_by_label("Username").fill(USER["username"])
        page.get_by_label("Password").fill(USER["password"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/superset/welcome/**", timeout=DRAWN_WITHIN_MS)
        page.goto(f"{url}/explore/?slice_id={chart}&standalone=1")
        page.get_by_text(words[0], exact=True).first.wait_for(timeout=DRAWN_WITHIN_MS)
        found = sum(page.get_by_text(word, exact=True).count() > 0 for word in words)
        if picture is not None:
            page.screenshot(path=picture)
        browser.close()
    return found


def run(orders: int, pictures: Path | None) -> Report:
    offset = free_offset()
    port, own = PORTS["gateway"] + offset, PORTS["lite"] + offset
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as name:
        folder = Path(name)
        made = make(folder / "data", orders)
        (folder / "superset").mkdir()
        with (
            served("gateway", ["-m", "embedded.gateway"], folder, offset, port),
            superset(folder / "superset", own) as asked,
        ):
            python = client_environment("superset")
            versions = subprocess.run(
                [python, "-c", "from importlib.metadata import version as v; print(v('apache-superset'))"],
                capture_output=True,
                text=True,
                check=True,
            )
            report = Report("superset", f"Apache Superset {versions.stdout.strip()}, {orders:,} orders of a day")
            uri = f"dremio+flight://dremio:dremio123@127.0.0.1:{port}/?UseEncryption=false"
            asked.connects(uri)
            database = asked.made(
                "database", {"database_name": "tillwatch", "sqlalchemy_uri": uri, "expose_in_sqllab": True}
            )
            schemas = asked.got(f"database/{database}/schemas/?q=(force:!t)")
            tables = {
                row["value"] for row in asked.got(f"database/{database}/tables/?q=(force:!t,schema_name:'{PLACE}')")
            }
            report.row("our schema among those that it lists", schemas.count(PLACE), "", exactly=1)
            report.row("our tables that it does not list", len(TABLES.keys() - tables), "", exactly=0)
            # The dialect does not know Dremio's name of a column of bytes, BINARY VARYING.
            known = [name for name, table in TABLES.items() if all(column.type != "binary" for column in table.columns)]
            datasets = {
                table: asked.made("dataset", {"database": database, "schema": PLACE, "table_name": table})
                for table in known
            }
            report.row("datasets made", len(datasets), "", exactly=len(known))
            wrong = 0
            for table, number in datasets.items():
                columns = [column["column_name"] for column in asked.got(f"dataset/{number}")["columns"]]
                wrong += columns != [column.name for column in TABLES[table].columns]
            report.row("datasets whose columns are not the table's", wrong, "", exactly=0)
            _charts(asked, database, datasets["orders_processed"], Client(port), made.ended, report, pictures)
    return report


def _charts(
    asked: Superset,
    database: int,
    dataset: int,
    direct: Client,
    ended: datetime,
    report: Report,
    pictures: Path | None,
) -> None:
    by_status = {row["status"]: (row["n"], float(row["revenue"])) for row in direct.ask(SQL_BY_STATUS).to_pylist()}
    rows = asked.chart(dataset, BY_STATUS)
    told = {row["status"]: (row["count"], row["revenue"]) for row in rows}
    report.row("chart by status: rows", len(rows), "", exactly=len(by_status))
    report.row("chart by status: rows that are not the gateway's", _unlike(told, by_status), "", exactly=0)
    since, until = (moment.strftime("%Y-%m-%d %H:%M:%S") for moment in (ended - DAY, ended))
    by_hour = {
        row["h"].replace(tzinfo=UTC).timestamp() * 1000: row["n"]
        for row in direct.ask(SQL_BY_HOUR.format(since=since, until=until)).to_pylist()
    }
    span = f"{since} : {until}".replace(" ", "T").replace("T:T", " : ")
    axis = {"timeGrain": "PT1H", "columnType": "BASE_AXIS", "sqlExpression": "order_ts", "expressionType": "SQL"}
    query = {
        "columns": [{**axis, "label": "order_ts"}],
        "metrics": ["count"],
        "filters": [{"col": "order_ts", "op": "TEMPORAL_RANGE", "val": span}],
        "granularity": "order_ts",
        "time_range": span,
        "row_limit": 100,
    }
    told = {row["order_ts"]: row["count"] for row in asked.chart(dataset, query)}
    report.row("chart by the hour: rows", len(told), "", exactly=len(by_hour))
    report.row("chart by the hour: rows that are not the gateway's", _unlike(told, by_hour), "", exactly=0)
    told = {row["status"]: (row["n"], float(row["revenue"])) for row in asked.lab(database, SQL_BY_STATUS)}
    report.row("SQL Lab: rows that are not the gateway's", _unlike(told, by_status), "", exactly=0)
    shown = {
        "viz_type": "table",
        "query_mode": "aggregate",
        "groupby": BY_STATUS["columns"],
        "metrics": BY_STATUS["metrics"],
        "row_limit": 100,
        "datasource": f"{dataset}__table",
    }
    body = {"slice_name": "Orders by status", "viz_type": "table", "params": json.dumps(shown)}
    chart = asked.made("chart", {**body, "datasource_id": dataset, "datasource_type": "table"})
    picture = None if pictures is None else pictures / "superset.png"
    found = drawn(asked.url, chart, list(by_status), picture)
    report.row("statuses that the browser shows", found, "", exactly=len(by_status))


def _unlike(told: dict[Any, Any], known: dict[Any, Any]) -> int:
    return sum(told.get(key) != known.get(key) for key in told.keys() | known.keys())


def main() -> None:
    """`python -m bench superset`."""
    parser = argparse.ArgumentParser(prog="bench superset", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=20_000, help="of a day, in the tables that Superset finds")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="put a picture of the drawn chart there")
    arguments = parser.parse_args()
    run(arguments.orders, arguments.pictures).finish()


if __name__ == "__main__":
    main()
