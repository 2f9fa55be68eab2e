"""Serves bench/streamlit_page.py on a shop that publishes each second, and /bench/state beside it.

`python -m bench.streamlit_serve PORT STATE_PORT`. A file apart: a page that names FastAPI is taken for an app of it.
"""

from __future__ import annotations

import sys
import threading

import uvicorn
from fastapi import FastAPI
from streamlit.web.cli import main

from bench.console_shop import ROUTER, start
from lakehouse import ROOT


def serve(port: int, state_port: int) -> None:
    served = FastAPI()
    served.include_router(ROUTER)
    config = uvicorn.Config(served, host="127.0.0.1", port=state_port, log_level="warning")
    threading.Thread(target=uvicorn.Server(config).run, daemon=True).start()
    start()
    options = {"port": port, "address": "127.0.0.1", "headless": "true", "enableXsrfProtection": "false"}
    words = [word for name, value in options.items() for word in (f"--server.{name}", str(value))]
    page = str(ROOT / "bench" / "streamlit_page.py")
    sys.argv = ["streamlit", "run", page, *words, "--browser.gatherUsageStats", "false"]
    main(prog_name="streamlit")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
