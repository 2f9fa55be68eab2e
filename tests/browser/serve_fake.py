"""`python -m tests.browser.serve_fake`: the console, served as ever, on a fake Dremio."""

from __future__ import annotations

from pathlib import Path

from console.__main__ import serve

if __name__ == "__main__":
    serve(Path(__file__).with_name("fake_setup.py"), ["tests.browser.fake_plugin"])
