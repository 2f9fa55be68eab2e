"""deploy/bootstrap on machines of all kinds. Commands are stand-ins that write down what was asked of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PYTHON = r"""#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
    *"import ensurepip"*) [ -z "$NO_VENV" ] ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip --version") [ -z "$NO_PIP" ] ;;
    *" install "*)
        [ -z "$NO_NETWORK" ] || { echo "ERROR: no network" >&2; exit 1; }
        mkdir -p .tools/uv/bin && cp "$UV" .tools/uv/bin/uv ;;
esac
"""
UV = r"""#!/bin/sh
echo "uv $*" >>"$CALLS"
case "$*" in
    "python find"*) [ -z "$NO_312" ] && command -v python3 ;;
    "python install"*) exit 1 ;;
    "venv "*) mkdir -p .venv/bin && cp "$(command -v python3)" .venv/bin/python ;;
    "pip sync"*)
        sleep "${SYNC_S:-0}"
        [ -z "$NO_NETWORK" ] || { echo "error: no network" >&2; exit 1; } ;;
    "pip install"*) : >.venv/bin/tillwatch && chmod +x .venv/bin/tillwatch ;;
esac
"""


@dataclass
class Machine:
    root: Path
    tools: Path

    def bootstrap(self, group: str = "default", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "deploy/bootstrap", group],
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=30,
        )

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "HOME": str(self.tools),
            "CALLS": str(self.tools / "calls"),
            "UV": str(self.tools / "uv.sh"),
            **more,
        }

    def calls(self, word: str) -> list[str]:
        return [line for line in (self.tools / "calls").read_text().splitlines() if word in line]

    def command(self, name: str, text: str) -> None:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A clone on a machine whose python3 can do all, and whose python3.12 is found by uv."""
    root, tools = tmp_path / "clone of ours", tmp_path / "bin"
    tools.mkdir()
    (root / "deploy").mkdir(parents=True)
    shutil.copytree(ROOT / "requirements", root / "requirements")
    shutil.copy(ROOT / "pyproject.toml", root)
    script = (ROOT / "deploy" / "bootstrap").read_text()
    # The one place outside PATH that it looks at is this machine's own.
    (root / "deploy" / "bootstrap").write_text(
        script.replace(" /usr/bin/python3;", ";").replace("python3.1", "nopy3.1")
    )
    made = Machine(root, tools)
    made.command("python3", PYTHON)
    made.command("uv.sh", UV)
    (tools / "calls").touch()
    return made


def test_a_clean_clone_is_set_up_by_one_command_that_says_the_download_first(machine: Machine) -> None:
    done = machine.bootstrap()

    assert done.returncode == 0, done.stderr
    assert machine.calls("pip sync")[0].startswith("uv pip sync -q --require-hashes")
    assert "MB to download" in done.stderr
    assert done.stderr.index("MB to download") < done.stderr.index("Installed.")


def test_what_fits_already_costs_nothing(machine: Machine) -> None:
    machine.bootstrap()
    before = machine.calls("")

    done = machine.bootstrap()

    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls("") == before


def test_a_uv_on_the_path_is_left_alone(machine: Machine) -> None:
    machine.command("uv", '#!/bin/sh\necho "foreign uv" >>"$CALLS"\n')
    assert machine.bootstrap().returncode == 0
    assert machine.calls("foreign") == []


def test_a_python3_without_venv_does_with_pip(machine: Machine) -> None:
    done = machine.bootstrap(NO_VENV="1")
    assert done.returncode == 0, done.stderr
    assert machine.calls("--target .tools/uv")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"NO_VENV": "1", "NO_PIP": "1"}, "python3 has neither venv nor pip; install one"),
        ({"NO_312": "1"}, "Python 3.12 is not on this machine and could not be fetched; install it"),
        ({"NO_NETWORK": "1"}, "uv could not be installed from PyPI with python3"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(machine: Machine, missing: dict[str, str], sentence: str) -> None:
    if "NO_312" in missing:
        machine.command("python3", PYTHON.replace("esac", '    *sqlite3*) [ -z "$NO_312" ] ;;\nesac'))
    done = machine.bootstrap(**missing)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith("tillwatch: ")
    assert sentence in last


def test_no_python3_at_all_is_said_in_one_sentence(machine: Machine) -> None:
    machine.command("python3", "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
    done = machine.bootstrap()
    assert done.returncode == 2
    assert done.stderr.startswith("tillwatch: no python3 of 3.9 or newer was found; install one")
    assert len(done.stderr.splitlines()) == 1


def test_a_pyenv_shim_that_fails_is_passed_over(machine: Machine) -> None:
    machine.command("nopy3.11", PYTHON)
    machine.command("python3", "#!/bin/sh\nexit 127\n")
    machine.command("uv.sh", UV.replace("command -v python3", "command -v nopy3.11"))
    done = machine.bootstrap()
    assert done.returncode == 0, done.stderr


def test_an_install_that_was_cut_off_is_begun_anew_by_the_next_run(machine: Machine) -> None:
    machine.bootstrap()
    shutil.rmtree(machine.root / ".venv")
    assert machine.bootstrap(NO_NETWORK="1").returncode == 2

    done = machine.bootstrap()

    assert done.returncode == 0, done.stderr
    assert "did not come to its end: starting it again" in done.stderr
    assert machine.bootstrap().stderr == ""


def test_a_changed_lock_is_installed(machine: Machine) -> None:
    machine.bootstrap()
    with (machine.root / "requirements" / "default.lock").open("a") as lock:
        lock.write("# changed\n")
    machine.bootstrap()
    assert len(machine.calls("pip sync")) == 2


def test_a_changed_project_file_costs_no_sync(machine: Machine) -> None:
    machine.bootstrap()
    with (machine.root / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    machine.bootstrap()
    assert len(machine.calls("pip sync")) == 1
    assert len(machine.calls("pip install -q --no-deps --no-build-isolation -e .")) == 2


def test_a_clone_that_was_moved_is_installed_again(machine: Machine, tmp_path: Path) -> None:
    machine.bootstrap()
    machine.root = machine.root.rename(tmp_path / "moved")
    assert "Installed." in machine.bootstrap().stderr


def test_the_demo_takes_nothing_away_from_a_developer(machine: Machine) -> None:
    machine.bootstrap("dev")
    done = machine.bootstrap("default")
    assert done.stderr == ""
    assert "requirements/dev.lock" in machine.calls("pip sync")[-1]


def test_the_stack_takes_nothing_away_from_a_developer_nor_the_demo_from_the_stack(machine: Machine) -> None:
    machine.bootstrap("spark")
    assert machine.bootstrap("default").stderr == ""
    assert "requirements/spark.lock" in machine.calls("pip sync")[-1]
    machine.bootstrap("dev")
    assert machine.bootstrap("spark").stderr == ""
    assert "requirements/dev.lock" in machine.calls("pip sync")[-1]


def test_two_at_once_install_once(machine: Machine) -> None:
    runs = [
        subprocess.Popen(
            ["sh", "deploy/bootstrap", "dev"],
            cwd=machine.root,
            env=machine.environment(SYNC_S="1"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=30)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert len(machine.calls("pip sync")) == 1


def test_a_group_that_is_not_there_is_named(machine: Machine) -> None:
    done = machine.bootstrap("all")
    assert done.returncode == 2
    assert "there is no requirements/all.lock; the groups are default, spark and dev." in done.stderr


def test_every_lock_has_its_download_size_and_no_address() -> None:
    sizes = dict(
        line.split()
        for line in (ROOT / "requirements" / "download-mb.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert int(sizes["uv" if lock.stem == "bootstrap" else lock.stem]) > 0
        assert "://" not in lock.read_text(), lock.name


def test_dev_holds_all_of_default() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        return {line.split()[0] for line in lines if line and not line.startswith((" ", "#"))}

    assert pins("default.lock") <= pins("dev.lock")
    assert pins("default.lock") <= pins("spark.lock") <= pins("dev.lock")
    assert not any(pin.startswith("pyspark") for pin in pins("default.lock"))


def test_our_environment_needs_no_repair(tmp_path: Path) -> None:
    """Nor does finding that out start any process but the two on this PATH."""
    if not (ROOT / ".venv" / ".tillwatch").exists():
        pytest.skip("this environment was not made by deploy/bootstrap")
    shell = shutil.which("sh")
    assert shell is not None
    for name in ("cmp", "dirname"):
        command = shutil.which(name)
        assert command is not None
        (tmp_path / name).symlink_to(command)
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [shell, "deploy/bootstrap", "default"], cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
