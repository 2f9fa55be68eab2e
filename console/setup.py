"""Run by `panel serve --setup`, once, before the first page: connects to Dremio and starts the poller."""

from __future__ import annotations

from console.running import start
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings

start(Dremio(DremioSettings.load()))
