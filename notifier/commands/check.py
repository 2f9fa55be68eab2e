"""`check-config`: would the notifier start with these settings, routes and rules?"""

from __future__ import annotations

from lakehouse.settings.durations import write_duration
from notifier.commands.output import Json, say
from notifier.config import load_config


def check_config(as_json: Json = False) -> None:
    """Read settings and routes as a start would. Exits 0, or 2 with what is wrong, where, and what would do."""
    config = load_config()
    names = [route.name for route in config.routing.walk()]
    reached = {channel.name: list(channel.destinations) for channel in config.channels}
    lines = [f"{len(names)} routes: {', '.join(names)}"]
    lines += [f"{name}: {', '.join(destinations)}" for name, destinations in reached.items()]
    if not reached:
        lines.append("No channel is set up: alerts are listed, and nobody is told.")
    asked = {rule.name: write_duration(rule.every) for rule in config.question_rules}
    if asked:
        lines.append(f"Rules that ask: {', '.join(f'{name} every {every}' for name, every in asked.items())}")
    say("\n".join(lines), {"routes": names, "destinations": reached, "questions": asked}, as_json)
