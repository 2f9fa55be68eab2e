"""Given to `panel serve --setup`: the console on a fake Dremio that tests can move, break and mend over HTTP."""

from __future__ import annotations

from console.running import start
from tests.browser.fake_plugin import DREMIO

start(DREMIO)
