"""The small page on a fake Dremio: `python -m tests.browser.serve_fake_lite`."""

from __future__ import annotations

from datetime import UTC, datetime

import lakehouse.dremio.client
from tests.fake_dremio import FakeDremio, a_shop

if __name__ == "__main__":
    fake = FakeDremio()
    a_shop(fake, datetime.now(UTC), minutes=15)
    # Streamlit runs the page's file as a module of its own, which takes this name anew.
    lakehouse.dremio.client.Dremio = lambda _settings: fake  # type: ignore[assignment, misc]
    from console.lite import serve

    serve()
