"""Questions to the gateway on Nessie and S3 beside the same questions on the embedded catalog, over the same rows.

    python -m bench.gateway [--publishes 60] [--rounds 20]

Both run in this process, without Flight, and take turns. Needs Nessie and S3 (python -m tillwatch.servers nessie, s3).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from bench.mirror import Mirror
from bench.report import Report
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.nessie import NessieCommits
from embedded.gateway.paths import Context
from embedded.gateway.s3 import S3, TIMEOUT_S, S3Files
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import Nessie
from tests.conftest import Shop

SCHEMA_PATH = Context((CATALOG, SCHEMA))
HEAD = f"SHOW BRANCHES IN {CATALOG}"
QUESTIONS = {
    "KPI minutes": "SELECT window_start, orders_count, total_revenue FROM orders_revenue_per_minute AT COMMIT {commit} "
    "ORDER BY window_start",
    "raw by minute": "SELECT DATE_TRUNC('MINUTE', order_ts) AS m, COUNT(*) AS n, SUM(order_total) AS total "
    "FROM orders_processed AT COMMIT {commit} GROUP BY DATE_TRUNC('MINUTE', order_ts)",
    "latest errors": "SELECT error_ts, service_name, error_message FROM errors_processed AT COMMIT {commit} "
    "ORDER BY error_ts DESC NULLS LAST LIMIT 20",
    "positions": "SELECT MIN(read_to) AS as_of FROM ingest_positions AT COMMIT {commit}",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--publishes", type=int, default=60, help="publishes that are asked about, one after another")
    parser.add_argument("--rounds", type=int, default=20, help="times that the last one is asked about")
    arguments = parser.parse_args()
    nessie, s3_settings = NessieSettings.load(), S3Settings.load()
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder:
        data_dir = Path(folder)
        shop, s3 = Shop(data_dir), S3(s3_settings)
        shop.order()
        shop.publish()
        mirror = Mirror(data_dir, nessie, s3_settings)
        engines = [Engine(data_dir, data_dir / f"spill{n}", 1, 128, timeout_s=60) for n in range(2)]
        sides = {
            "embedded": Statements(SqliteCommits(data_dir / "catalog.db"), engines[0], 200_000),
            "nessie": Statements(
                NessieCommits(Nessie(nessie.uri, timeout_s=TIMEOUT_S), s3),
                engines[1],
                200_000,
                S3Files(s3, data_dir / "copies", 256),
            ),
        }
        new: dict[tuple[str, str], list[float]] = {}
        again: dict[tuple[str, str], list[float]] = {}
        for number in range(arguments.publishes + arguments.rounds):
            if number < arguments.publishes:
                for _ in range(20):
                    shop.order()
                    shop.click()
                    shop.error()
                shop.pass_time(timedelta(seconds=5))
                shop.publish()
                mirror.publish()
            taken = new if number < arguments.publishes else again
            for side in sorted(sides, reverse=bool(number % 2)):
                statements = sides[side]
                seconds, commit = ask(statements, HEAD)
                taken.setdefault((side, "head"), []).append(seconds)
                for name, sql in QUESTIONS.items():
                    seconds, _ = ask(statements, sql.format(commit=f'"{commit}"'))
                    taken.setdefault((side, name), []).append(seconds)
        shop.close()
    report = Report("gateway", f"{arguments.publishes} publishes of 60 rows, both catalogs in turn in one process")
    for what, figures in (("first ask at a new commit", new), ("asked again", again)):
        for (side, name), values in sorted(figures.items(), key=lambda item: item[0][::-1]):
            ordered = sorted(values)
            report.row(f"{name}, {side}, {what}, p50", statistics.median(ordered) * 1000, "ms")
            report.row(f"{name}, {side}, {what}, p95", ordered[int(len(ordered) * 0.95)] * 1000, "ms")
    report.finish()
    for engine in engines:
        engine.close()


def ask(statements: Statements, sql: str) -> tuple[float, str]:
    """Seconds from the text to the rows, and the commit in the first row, if it has one."""
    started = time.perf_counter()
    answer = statements.run(statements.plan(sql, SCHEMA_PATH).ticket, lambda: False)
    batches = list(answer.batches)
    seconds = time.perf_counter() - started
    names = answer.schema.names
    return seconds, str(batches[0].column("commitHash")[0]) if "commitHash" in names else ""


if __name__ == "__main__":
    main()
