"""The contract of topics and tables, and the way to the data. Imports no other part."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder of the project."""
