"""Minutes with more groups than a table may have: at every publish the right ones stay, and one row is all others."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse.decode.values import page_of
from lakehouse.kpis import KPIS, OTHER
from tests.conftest import Shop
from tests.test_kept import over_raw, plainly

MOST = 4
GROUPED: dict[str, tuple[str, ...]] = {
    "errors_per_minute": ("service_name", "severity"),
    "clicks_per_minute": ("page", "device_type"),
}
COUNTED = {"errors_per_minute": "error_count", "clicks_per_minute": "clicks"}
FIRST = ("FATAL", "ERROR")


def users_of(shop: Shop, at: datetime, groups: set[tuple[str, ...]]) -> int:
    """How many people clicked in these groups of a minute."""
    clicks = [row for row in shop.rows("clicks_processed") if at <= row["click_ts"] < at + timedelta(minutes=1)]
    return len({row["user_id"] for row in clicks if (page_of(row["url"]), row["device_type"]) in groups})


def bounded(shop: Shop, name: str) -> list[dict[str, Any]]:
    """What the query gives, with the groups of a minute that are too many put together by hand."""
    minutes: defaultdict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for row in over_raw(shop, KPIS[name]):
        minutes[row["window_start"]].append(row)
    found: list[dict[str, Any]] = []
    by, counted = GROUPED[name], COUNTED[name]
    for at, rows in minutes.items():
        severities = {row["severity"]: 0 for row in rows} if "severity" in by else {}
        order = {severity: (FIRST.index(severity) if severity in FIRST else len(FIRST)) for severity in severities}
        rows.sort(key=lambda row: (order.get(row.get("severity"), 0), -row[counted], *(row[one] for one in by)))
        stay = rows if len(rows) <= MOST else rows[: MOST - 1]
        rest = rows[len(stay) :]
        found += stay
        if rest:
            other = rest[0] | dict.fromkeys(by, OTHER) | {counted: sum(row[counted] for row in rest)}
            if "users" in other:
                other["users"] = users_of(shop, at, {tuple(row[one] for one in by) for row in rest})
            found.append(other)
    return found


@pytest.mark.parametrize(("seed", "memory"), [(1, 64 << 20), (2, 0)], ids=["kept up", "anew"])
def test_at_every_publish_the_groups_beyond_the_bound_are_one(tmp_path: Path, seed: int, memory: int) -> None:
    shop = Shop(tmp_path, kpis={"memory": memory, "most_groups": MOST})
    draw = random.Random(seed)
    beyond = 0
    for _ in range(10):
        shop.pass_time(timedelta(seconds=draw.choice((1, 20, 70))))
        for _ in range(draw.randrange(4, 16)):
            at = shop.now - timedelta(seconds=draw.choice((0, 0, 1, 30, 70)))
            if draw.random() < 0.5:
                severity = draw.choice(("INFO", "WARN", "WARN", "ERROR", "FATAL"))
                shop.error(at, severity=severity, service_name=draw.choice("abcd"))
            else:
                device = draw.choice(("mobile", "desktop"))
                url = f"/page/{draw.choice(('cart', 'home', 'a', 'b', 'c'))}"
                shop.click(at, user_id=f"u{draw.randrange(5)}", url=url, device_type=device)
        shop.publish()
        if draw.random() < 0.2:
            shop.restart()
        for name in GROUPED:
            rows = shop.rows(name)
            assert plainly(rows) == plainly(bounded(shop, name)), name
            beyond += sum(row[GROUPED[name][0]] == OTHER for row in rows)
    assert beyond > 20  # or this is no test of it
    shop.close()
