"""`python -m bench NAME [options]` runs one bench; without a name it lists them."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

from lakehouse.proxies import keep_own_traffic_off

HERE = Path(__file__).parent


def benches() -> dict[str, str]:
    """Every bench and the first line of what it says of itself: the files here that can be run."""
    found = {}
    for path in sorted(HERE.glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        if 'if __name__ == "__main__":' in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main() -> int:
    known = benches()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("python -m bench NAME [--help | options]. A bench has the machine to itself or measures others' work.\n")
        for name, words in known.items():
            print(f"  {name:<16}{words}")
        return 0
    name = sys.argv[1]
    if name not in known:
        print(f"bench: there is no bench '{name}'; known are {', '.join(known)}.", file=sys.stderr)
        return 2
    sys.argv = [f"bench {name}", *sys.argv[2:]]
    keep_own_traffic_off()
    # Imported by its name, or what it gives to other processes could not be found there.
    importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
