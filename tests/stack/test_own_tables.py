"""Tables of others, by pyiceberg beside ours and by Spark in a folder of its own: on a board, and in a rule."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import expect
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import Table

from bench.browser import browser_page
from bench.mirror import Mirror
from lakehouse import ROOT
from lakehouse.tables import SCHEMA
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import TableAt
from tests.conftest import Shop
from tests.stack.conftest import Stack, stock_s3

QUESTIONS = {
    "stock": """-- What lies in the warehouse, the least first.
-- Columns: product string, pieces int.
-- Every: 5 s
SELECT product, pieces FROM nessie_minio_catalog.ecommerce_db.stock ORDER BY pieces, product
""",
    "deliveries": """-- What came, the last first.
-- Columns: product string, pieces int, came timestamp.
-- Every: 5 s
SELECT product, pieces, came FROM nessie_minio_catalog.warehouse.deliveries ORDER BY came DESC
""",
}
BOARD = """title: Warehouse
order: 25
tiles:
  - {title: Least, question: stock, column: pieces, unit: pieces, limits: [{below: 5, word: low, state: bad}]}
tables:
  - {title: Stock, question: stock, key: [product]}
  - {title: Deliveries, question: deliveries, key: [product, came]}
"""
RULE = """
  - name: low_stock
    kind: question
    question: stock
    severity: FATAL
    every: 5 s
    value: pieces
    below: 5
    by: [product]
    for: 0 s
    keep_firing_for: 1 min
    description: "{pieces} pieces of {product} are left, fewer than {threshold}"
    owner: warehouse
    summary: Something is about to run out
"""
SPARK = """
import sys
from pathlib import Path

sys.path += [".", "spark-apps"]
from bench.plain_spark import CATALOG, session

spark = session("main", Path(sys.argv[1]))
spark.sql(f"CREATE NAMESPACE {CATALOG}.warehouse")
spark.sql(
    f"CREATE TABLE {CATALOG}.warehouse.deliveries (product STRING, pieces INT, came TIMESTAMP) USING iceberg "
    "TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')"
)
spark.sql(
    f"INSERT INTO {CATALOG}.warehouse.deliveries VALUES ('samovar', 40, TIMESTAMP '2026-03-01 08:00:00'), "
    "('kettle', 12, TIMESTAMP '2026-03-01 09:30:00'), ('teapot', 7, TIMESTAMP '2026-03-02 10:00:00')"
)
spark.sql(f"DELETE FROM {CATALOG}.warehouse.deliveries WHERE product = 'teapot'")
spark.stop()
"""


def config_of(folder: Path) -> Path:
    """What is shipped, with the board, its questions and the rule; the settings file of it."""
    shutil.copytree(ROOT / "config", folder)
    for place, name, text in [("boards", "warehouse.yaml", BOARD)] + [
        ("questions", f"{name}.sql", text) for name, text in QUESTIONS.items()
    ]:
        (folder / place).mkdir(exist_ok=True)
        (folder / place / name).write_text(text, encoding="utf-8")
    alerts = folder / "alerts.yaml"
    alerts.write_text(alerts.read_text(encoding="utf-8").rstrip() + "\n" + RULE, encoding="utf-8")
    return folder / "tillwatch.yaml"


def put(mirror: Mirror, stock: Table) -> None:
    """Commit the newest metadata of the table to Nessie."""
    mirror.commit({"stock": TableAt("", stock.metadata_location, stock.metadata.current_snapshot_id or 0, 0, 0, 0)})


def pieces(**counts: int) -> pa.Table:
    return pa.table({"product": list(counts), "pieces": pa.array(counts.values(), pa.int32())})


@pytest.mark.timeout(300)
def test_tables_of_others_are_on_a_board_and_a_rule_over_one_wakes_somebody(stack: Stack, tmp_path: Path) -> None:
    with closing(Shop(tmp_path / "shop")) as shop:
        shop.order()
        shop.publish()
        mirror = Mirror(tmp_path / "shop", NessieSettings.load(), S3Settings.load())
        mirror.publish()
    catalog = InMemoryCatalog("theirs", warehouse=NessieSettings.load().warehouse, **stock_s3())
    catalog.create_namespace(SCHEMA)
    stock = catalog.create_table(f"{SCHEMA}.stock", pieces(samovar=0).schema)
    stock.append(pieces(samovar=9, kettle=31))
    put(mirror, stock)
    spark = stack.start("spark", ["-c", SPARK, str(tmp_path / "scratch")])
    assert spark.ends(120) == 0, spark.said()[-3000:]

    config = str(config_of(tmp_path / "config"))

    with stack.gateway(CONFIG=config), stack.oncall(CONFIG=config) as notifier, browser_page() as page:
        page.goto(f"{stack.url('console')}/app?tab=warehouse")
        rows = page.locator('[data-list="warehouse.tables0"] tr')
        expect(rows).to_have_text(["samovar9", "kettle31"], timeout=45_000)
        came = page.locator('[data-list="warehouse.tables1"] tr')
        expect(came).to_have_count(2, timeout=45_000)
        expect(came.first).to_contain_text("kettle")
        assert "pieces of" not in str(stack.slack())

        stock.append(pieces(teapot=4))
        put(mirror, stock)
        notifier.until(lambda: "4 pieces of teapot are left, fewer than 5" in str(stack.slack()), 60)
        expect(rows).to_have_text(["teapot4", "samovar9", "kettle31"], timeout=45_000)
        expect(page.locator('[data-tile="warehouse.tile0"]')).to_contain_text("low")
