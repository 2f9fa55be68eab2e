"""The doors of the repository: make, the scripts, the command, the import rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tillwatch.parts import BY_NAME, PARTS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["deploy/bootstrap", "deploy/lock"]
BASH_SCRIPTS = ["deploy/ci-setup", ".ci/run"]
PACKAGES = ["lakehouse", "pipeline", "producers", "embedded", "console", "notifier", "tillwatch"]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


# ---- make


def test_a_bare_make_prints_help() -> None:
    said = run("make", MAKEFLAGS="").stdout
    for target in ("demo", "stack", "stack-down", "test", "lint", "status", "bench", "lock", "clean-data"):
        assert re.search(rf"^  make {target} +\S", said, re.MULTILINE), target


def test_each_target_that_people_call_has_its_line_in_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    told = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert targets - told == {"env", "env-spark", "env-dev"}
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets


def test_lint_changes_nothing() -> None:
    lint = run("make", "-n", "lint", MAKEFLAGS="").stdout
    assert "ruff format --check" in lint
    assert "--fix" not in lint


def test_the_makefile_keeps_to_make_of_2006() -> None:
    # What GNU make 3.81 does not know: .ONESHELL, !=, ::=, file functions, grouped targets, .EXTRA_PREREQS.
    makefile = (ROOT / "Makefile").read_text()
    assert not re.search(r"\.ONESHELL|!=|::=|&:|\$\(file |\.EXTRA_PREREQS|\$\(intcmp|\$\(let", makefile)


# ---- scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_read_by_every_posix_shell(script: str) -> None:
    for shell in filter(shutil.which, ("sh", "dash", "bash")):
        done = run(shell, "-n", script)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_posix_script_uses_nothing_of_bash_or_gnu(script: str) -> None:
    code = "\n".join(line for line in (ROOT / script).read_text().splitlines() if not line.lstrip().startswith("#"))
    for name, pattern in {
        "[[": r"\[\[",
        "function": r"^\s*function\b",
        "local": r"^\s*local\b",
        "array": r"\w=\(",
        "==": r"\[ [^]]*==",
        "$'…'": r"\$'",
        "here-string": r"<<<",
        "process substitution": r"[<>]\(",
        "echo -e": r"\becho -[en]",
        "source": r"^\s*source\b",
        "readlink -f": r"readlink -f",
        "realpath": r"\brealpath\b",
        "sed -i": r"\bsed -i",
        "grep -P": r"\bgrep -\w*P",
        "timeout": r"^\s*timeout\b",
        "flock": r"\bflock\b",
    }.items():
        assert not re.search(pattern, code, re.MULTILINE), f"{script} uses {name}"


@pytest.mark.parametrize("script", BASH_SCRIPTS)
def test_a_bash_script_can_be_read_by_the_bash_of_macos(script: str) -> None:
    done = run("bash", "-n", script)
    assert done.returncode == 0, done.stderr
    # bash 3.2 has no mapfile, no associative arrays, no ${x,,}.
    assert not re.search(r"mapfile|readarray|declare -A|,,\}|\^\^\}", (ROOT / script).read_text())


def test_ci_does_what_a_developer_does() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert text.index("deploy/ci-setup") < text.index("make lint test")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "bash .ci/run" in workflow
    assert "ubuntu" in workflow
    assert "macos" in workflow


# ---- the command


@pytest.mark.parametrize("part", [part.name for part in PARTS])
def test_each_part_starts_by_its_name_and_tells_what_it_takes(part: str) -> None:
    done = run(sys.executable, "-m", "tillwatch", part, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize(
    "words",
    [
        ["demo", "--help"],
        ["status", "--help"],
        ["doctor", "--help"],
        ["stack", "--help"],
        ["stack-down", "--help"],
        ["clean-data", "--help"],
        ["--help"],
    ],
)
def test_each_command_has_help(words: list[str]) -> None:
    done = run(sys.executable, "-m", "tillwatch", *words)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "tillwatch", "demo", "--rate", "0", TILLWATCH_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 2
    assert done.stderr.startswith("tillwatch: Setting 'demo.rate' has the value '0.0': ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


# ---- the shape


def test_the_import_rules_name_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["importlinter"]["root_packages"] == PACKAGES
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == PACKAGES
    assert {part.command[1].split(".")[0] for part in PARTS} <= set(PACKAGES)


def test_each_gap_in_the_types_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    gaps = text[text.index("[[tool.mypy.overrides]]") : text.index("ignore_missing_imports")]
    for line in gaps.splitlines():
        if line.strip().startswith('"'):
            assert re.search(r'",? # \w', line), line


PAGES = sorted(
    str(path.relative_to(ROOT))
    for place in ("*.md", "docs/*.md", "deploy/**/*.md", "examples/*/*.md")
    for path in ROOT.glob(place)
)
FOLDERS = {path.parent.name for path in ROOT.glob("*/*.py")} | {"deploy", "docs", "examples", "requirements"}
OURS = "|".join(sorted(FOLDERS))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_what_is_there(page: str) -> None:
    """Files, and the headings in them; as a reader follows them: from where the page lies."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for link, heading in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        if heading:
            assert heading in _headings(target.read_text(encoding="utf-8")), f"{page} links to {link}#{heading}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith(("docs/", "CONTRIBUTING"))])
def test_a_page_names_files_that_are_there(page: str) -> None:
    """In backticks, from the top: `lakehouse/kpis/`, also with a * in it. A part that is a <name> may be any."""
    named = re.findall(rf"`((?:{OURS})/[\w./*<>-]*)`", (ROOT / page).read_text(encoding="utf-8"))
    files = [re.sub(r"<[^>]*>", "*", name) for name in named if "." in name or name.endswith("/")]
    assert [name for name in files if not any(ROOT.glob(name))] == []


def _headings(text: str) -> set[str]:
    """The names that a page's headings have in addresses."""
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_names_what_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    default = _mb("uv") + _mb("default")
    said = re.search(r"about (\d+) MB for the demo", readme)
    assert said is not None
    assert abs(int(said[1]) - default) <= 10, "README's download size is no longer true"
    assert set(re.findall(r"localhost:(\d+)", readme)) == {"5006", "5008", "8501"}
    assert BY_NAME["lite"].port == "lite"


def _mb(name: str) -> int:
    sizes = (ROOT / "requirements" / "download-mb.txt").read_text()
    return int(next(line.split()[1] for line in sizes.splitlines() if line.startswith(f"{name} ")))
