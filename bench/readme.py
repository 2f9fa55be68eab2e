"""Write the promised figures of bench/results into the README's table: `python -m bench.readme`."""

from __future__ import annotations

import json

from bench.report import RESULTS
from lakehouse import ROOT

BEGIN, END = "<!-- bench:begin", "<!-- bench:end -->"


def rows() -> list[str]:
    """One row for each figure that something is promised of, with its conditions, in the order of the benches."""
    found = []
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "figures" not in content:
            continue
        for figure in content["figures"]:
            if figure["kept"] is None:
                continue
            limit = next(
                f"{sign} {figure[key]:,.10g}"
                for key, sign in (("exactly", "="), ("at_most", "<="), ("at_least", ">="))
                if figure.get(key) is not None
            )
            exact = figure["exactly"] is not None or figure["value"] == int(figure["value"])
            value = f"{figure['value']:,.10g}" if exact else f"{figure['value']:,.4g}"
            value = f"{value} {figure['unit']}".strip()
            verdict = "" if figure["kept"] else " **not kept**"
            found.append(
                f"| {content['bench']}: {figure['name']} | {value}{verdict} | {limit} | `{content['command']}` |"
            )
    return found


def conditions() -> list[str]:
    """A line for each bench with a promise: what it ran, and on what."""
    lines = []
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "figures" in content and any(figure["kept"] is not None for figure in content["figures"]):
            lines.append(f"- `{content['bench']}`: {content['conditions']} ({content['machine']}).")
    return lines


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    first_line = BEGIN + rest.split("\n", 1)[0]
    tail = rest.split(END, 1)[1]
    table = ["| figure | measured | promised | command |", "|---|---|---|---|", *rows()]
    body = "\n".join([first_line, *table, "", "Conditions:", "", *conditions(), END])
    readme.write_text(head + body + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
