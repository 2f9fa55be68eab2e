"""The command line of the small page's server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.look import FONT, tokens

PAGE = Path(__file__).parents[1] / "lite.py"


def serve_arguments(port: int, address: str, origins: Sequence[str] = ()) -> list[str]:
    """The command line of `streamlit run`: nothing of it that develops, deploys or reports."""
    options: dict[str, object] = {
        "server.port": port,
        "server.address": address,
        "server.headless": "true",
        "server.showEmailPrompt": "false",
        # It would ask a server on the internet for this machine's address.
        "logger.hideWelcomeMessage": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.showSidebarNavigation": "false",
        "runner.magicEnabled": "false",
        "theme.font": FONT,
        "theme.paddingTop": "1.5rem",
    }
    for theme in ("dark", "light"):
        look = tokens(theme)
        options |= {
            f"theme.{theme}.primaryColor": look["accent"],
            f"theme.{theme}.backgroundColor": look["page"],
            f"theme.{theme}.secondaryBackgroundColor": look["card"],
            f"theme.{theme}.textColor": look["text"],
            f"theme.{theme}.orangeTextColor": look["state-bad"],
            f"theme.{theme}.grayTextColor": look["text-quiet"],
        }
    arguments = ["run", str(PAGE), *(f"--{name}={value}" for name, value in options.items())]
    return arguments + [f"--server.corsAllowedOrigins=http://{origin}" for origin in origins]
