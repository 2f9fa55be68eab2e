"""The small page on a fake Dremio, of a shop that goes on: `python -m tests.browser.serve_fake_lite`."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime

import lakehouse.dremio.client
from tests.fake_dremio import FakeDremio, a_shop

PRODUCTS = ("tea", "a product with a long name, as some have", "mug")


def go_on(fake: FakeDremio) -> None:
    """An order and an error each second, whose amounts and words grow and shrink."""
    for number in itertools.count():
        time.sleep(1)
        at = datetime.now(UTC)
        fake.order(at, f"{10 ** (number % 5)}.50", product_id=PRODUCTS[number % 3])
        fake.click(at)
        fake.error(at, "ERROR", "payments", error_message="timeout " * (1 + number % 9))
        fake.publish(datetime.now(UTC))


if __name__ == "__main__":
    fake = FakeDremio()
    a_shop(fake, datetime.now(UTC), minutes=15)
    threading.Thread(target=go_on, args=(fake,), daemon=True).start()
    # Streamlit runs the page's file as a module of its own, which takes this name anew.
    lakehouse.dremio.client.Dremio = lambda _settings: fake  # type: ignore[assignment, misc]
    from console.lite import serve

    serve()
