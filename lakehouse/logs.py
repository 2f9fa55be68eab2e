"""What a program says of itself, on standard error."""

from __future__ import annotations

import argparse
import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr(*quiet: str, verbose: bool = False) -> None:
    """Log to standard error; of loggers that tell each connection, only what they warn of."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=FORMAT)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)


def ingest_arguments(parser: argparse.ArgumentParser, *quiet: str) -> argparse.Namespace:
    """What the command line of an ingest tells, `--verbose` among it; what it logs from here on follows that."""
    parser.add_argument("--verbose", action="store_true", help="log every publish")
    arguments = parser.parse_args()
    log_to_stderr(*quiet, verbose=arguments.verbose)
    return arguments
