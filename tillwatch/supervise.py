"""supervisord in the foreground, tied to the process that started it: `python -m tillwatch.supervise DATA_DIR`.

Its standard input is a pipe that the demo holds open. However the demo ends, killed or its terminal closed, the pipe
ends too, and supervisord stops all parts and itself: nothing is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from supervisor import supervisord


def _end_with_the_pipe() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    # To supervisord SIGHUP means: read the configuration again and restart all.
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    os.chdir(sys.argv[1])  # its configuration names paths from there
    supervisord.main(["--nodaemon", "--silent", "--configuration", "run/supervisord.conf"])


if __name__ == "__main__":
    main()
