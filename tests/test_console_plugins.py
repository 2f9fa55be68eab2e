"""What the console answers beside its page."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from console import plugins
from tests.test_console_session import a_console


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    parts = a_console()
    monkeypatch.setattr(plugins, "running", lambda: parts)
    app = FastAPI()
    app.include_router(plugins.ROUTER)
    return TestClient(app)


def test_readyz_and_metrics_tell_how_the_connection_to_dremio_is(console: TestClient) -> None:
    assert console.get("/readyz").json()["dremio"] == {"status": "up", "last_ok": None, "latency_s": None}
    said = console.get("/metrics").text
    assert 'tillwatch_console_dremio_state{tillwatch_console_dremio_state="up"} 1.0' in said
    assert "tillwatch_console_dremio_latency_seconds 0.0" in said
    assert "tillwatch_console_dremio_last_ok_timestamp_seconds NaN" in said


def test_the_root_leads_to_the_page_with_what_was_chosen(console: TestClient) -> None:
    for query in ("", "?tab=orders&range=24h", "?find=why?", "?find=%FF"):
        assert console.get(f"/{query}", follow_redirects=False).headers["location"] == f"app{query}"
