"""docker-compose.yml and its overrides: what they publish, limit and pin. Nothing is started here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse import ROOT
from tests.images.engine import compose_words
from tillwatch.settings_page import every_section

BASE = "docker-compose.yml"
OVERRIDES = ("docker-compose.small.yml", "docker-compose.s3proxy.yml")
COMBINED = ((BASE,), *((BASE, override) for override in OVERRIDES))
ONCE = {"setup", "bucket", "dremio-setup"}
# Never started with the override for 8 GiB.
EXECUTORS = {"spark-master", "spark-worker"}
# With profile cdc, which asks for more than the file says: see docs/your-shop.md.
CDC = {"postgres", "connect", "connector", "shop"}
CDC_GIB = 1
GIB = {"docker-compose.yml": 16, "docker-compose.small.yml": 8}
_SIZES = {"m": 2**20, "g": 2**30}

type Compose = Mapping[str, Any]


def read(name: str) -> Compose:
    content: Compose = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


def compose(*words: str, files: tuple[str, ...], **variables: str) -> subprocess.CompletedProcess[str]:
    """docker-compose 1.29 or Compose v2. Without either, the test is skipped; on Linux with CI=true it fails."""
    command = compose_words()
    if not command and os.environ.get("CI") == "true" and sys.platform == "linux":
        pytest.fail("there is no docker-compose; deploy/ci-setup installs it")
    if not command:
        pytest.skip("there is no docker-compose")
    named = [word for name in files for word in ("-f", name)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("TILLWATCH_", "COMPOSE_"))}
    return subprocess.run([*command, *named, *words], cwd=ROOT, env=clean | variables, capture_output=True, text=True)


def merged(files: tuple[str, ...], **variables: str) -> Compose:
    ran = compose("--profile", "demo", "--profile", "cdc", "config", files=files, **variables)
    assert ran.returncode == 0, ran.stderr
    content: Compose = yaml.safe_load(ran.stdout)
    return content


@pytest.fixture(scope="module", params=COMBINED, ids=lambda files: files[-1])
def files(request: pytest.FixtureRequest) -> tuple[str, ...]:
    names: tuple[str, ...] = request.param
    return names


@pytest.mark.parametrize("name", [BASE, *OVERRIDES])
def test_a_file_is_what_the_compose_specification_says(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter, "hadolint is a package of group dev"
    ran = subprocess.run([linter, "--no-color", "deploy/Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_what_the_dockerfile_installs_is_in_the_lock_with_all_it_needs(tmp_path: Path) -> None:
    """The environment of group dev holds all of the lock, so nothing is left to install, and nothing to download."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"sh install ([\w -]+)", text)
    assert len(lines) > 8
    uv = tmp_path / "uv"
    uv.write_text(
        f'#!/bin/sh\nexec {ROOT}/.tools/uv/bin/uv "$@" --dry-run --offline --python {sys.executable}\n', "utf-8"
    )
    uv.chmod(0o755)
    for line in lines:
        command = ["sh", "deploy/compose/install", *line.split()]
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
        ran = subprocess.run(command, cwd=ROOT, env=path, capture_output=True, text=True)
        assert ran.returncode == 0, f"install {line}: {ran.stderr}"


def test_each_combination_is_understood(files: tuple[str, ...]) -> None:
    assert {"console", "driver", "kafka3", "producers", "sandbox"} <= set(merged(files)["services"])


def test_nothing_is_published_but_on_this_machine(files: tuple[str, ...]) -> None:
    for name in files:
        for service, content in read(name)["services"].items():
            for port in content.get("ports", ()):
                assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port), f"{name}: {service} publishes {port}"
            assert content.get("network_mode") != "host"
            assert not content.get("privileged")


def test_published_ports_are_those_of_the_design() -> None:
    ports = " ".join(port for service in read(BASE)["services"].values() for port in service.get("ports", ()))
    for port in (5006, 5007, 5008, 8501, 9000, 19120, 29092, 32010, 39092, 49092):
        assert f":-{port}}}:{port}" in ports


@pytest.mark.parametrize("name", GIB)
def test_memory_limits_fit_the_machine_that_a_file_is_for(name: str) -> None:
    files = (BASE,) if name == BASE else (BASE, name)
    limits: dict[str, int] = {}
    for file in files:
        for service, content in read(file)["services"].items():
            if "mem_limit" in content:
                amount, unit = re.fullmatch(r"(\d+)([mg])", content["mem_limit"]).groups()  # type: ignore[union-attr]
                limits[service] = int(amount) * _SIZES[unit]
    services = set(merged(files)["services"])
    assert services == set(limits)
    running = services - ONCE - CDC - (EXECUTORS if name != BASE else set())
    # A tenth is for the system and Docker itself.
    assert sum(limits[service] for service in running) <= GIB[name] * 2**30 * 0.92
    assert sum(limits[service] for service in CDC) <= CDC_GIB * 2**30


def test_what_runs_is_watched_restarted_and_capped(files: tuple[str, ...]) -> None:
    checked = set(re.findall(r"FROM base AS (\w+)\n(?:(?!FROM).*\n)*?HEALTHCHECK", dockerfile()))
    for name, service in merged(files)["services"].items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        if name in ONCE:
            assert service["restart"] == "no"
            continue
        # The driver ends with 0 where a newer one has taken over.
        assert service["restart"] == ("on-failure" if name == "driver" else "unless-stopped"), name
        # These listen nowhere: that they run is all there is to know.
        silent = ("producers", "connector", "shop")
        target = service["image"].removeprefix("tillwatch/").partition(":")[0]
        assert "healthcheck" in service or target in checked or name in silent, name


def test_our_own_containers_can_write_nothing_but_volumes(files: tuple[str, ...]) -> None:
    for name, service in merged(files)["services"].items():
        if service["image"].startswith("tillwatch/"):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert "user" not in service, "the image says who it runs as"


def test_images_are_pinned_and_ours_have_the_projects_version(files: tuple[str, ...]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name, service in merged(files)["services"].items():
        image, _, tag = service["image"].rpartition(":")
        assert image, f"{name} has no tag"
        assert re.search(r"\d", tag), f"{name}: {tag} moves"
        if image.startswith("tillwatch/"):
            assert tag == version, name
            assert service.get("build", {}).get("target") in (None, image.removeprefix("tillwatch/")), name
    assert f'version="{version}"' in dockerfile()
    assert re.findall(r"^ARG PYTHON=(.*)$", dockerfile(), re.MULTILINE) == ["python:3.12-slim-bookworm"]
    assert set(re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE)) == {"${PYTHON}", "install", "base"}


def test_each_of_our_images_is_built_by_one_service(files: tuple[str, ...]) -> None:
    """Compose v2 builds side by side, and two builds of one name collide."""
    unused = EXECUTORS if "docker-compose.small.yml" in files else set()
    services = {name: service for name, service in merged(files)["services"].items() if name not in unused}
    ours = {service["image"] for service in services.values() if service["image"].startswith("tillwatch/")}
    assert sorted(service["image"] for service in services.values() if "build" in service) == sorted(ours)


def test_a_service_starts_when_those_it_needs_are_well(files: tuple[str, ...]) -> None:
    for name, service in merged(files)["services"].items():
        for needed, when in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert when["condition"] == wanted, f"{name}: {needed}"


@pytest.mark.parametrize("name", [BASE, *OVERRIDES])
def test_our_own_images_are_asked_of_no_registry(name: str) -> None:
    """As each file says; docker-compose 1.29 reads it and has no use for it."""
    for service, content in read(name)["services"].items():
        if content.get("image", "").startswith("tillwatch/"):
            assert content["pull_policy"] == "never", service


def test_no_secret_stands_in_a_file(files: tuple[str, ...]) -> None:
    for name, service in merged(files)["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|CREDENTIAL", variable):
                held = value is None or (variable.endswith("_FILE") and value.startswith("/secrets/"))
                assert held, f"{name}: {variable} has a value"


def test_a_secret_of_your_own_reaches_the_service_that_needs_it() -> None:
    own = {"TILLWATCH_CONSOLE_PASSWORD": "kettle-otter-52", "TILLWATCH_NOTIFIER_SLACK_TOKEN_FILE": "/run/own/slack"}
    services = merged((BASE,), **own)["services"]
    assert services["setup"]["environment"]["TILLWATCH_CONSOLE_PASSWORD"] == "kettle-otter-52"
    assert services["notifier"]["environment"]["TILLWATCH_NOTIFIER_SLACK_TOKEN_FILE"] == "/run/own/slack"
    assert "./deploy/secrets:/run/own:ro" in read(BASE)["services"]["notifier"]["volumes"]


def test_an_s3_of_your_own_reaches_all_who_use_it() -> None:
    own = {"S3_ENDPOINT": "https://s3.example", "S3_WAREHOUSE": "s3://otters/wh", "S3_REGION": "eu-central-1"}
    services = merged((BASE, "docker-compose.small.yml"), **own)["services"]
    told = {}
    for name, service in services.items():
        environment = service.get("environment") or {}
        if "TILLWATCH_S3_ENDPOINT" in environment:
            names = ("TILLWATCH_S3_ENDPOINT", "TILLWATCH_NESSIE_WAREHOUSE", "TILLWATCH_S3_REGION")
            told[name] = [environment.get(variable) for variable in names]
    assert set(told) == {"setup", "bucket", "driver", "dremio", "dremio-setup"}
    assert all(values == list(own.values()) for values in told.values()), told


def test_the_example_names_only_what_is_read() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in (BASE, *OVERRIDES))
    named = re.findall(r"^# ([A-Z][A-Z0-9_]+)=", example, re.MULTILINE)
    assert len(named) > 20
    # Compose's own: which files and profiles its commands mean.
    own = {"COMPOSE_FILE": "docker-compose.yml:docker-compose.small.yml", "COMPOSE_PROFILES": "demo"}
    assert own.items() <= dict(re.findall(r"^# ([A-Z_]+)=(\S+)$", example, re.MULTILINE)).items()
    for variable in set(named) - set(own):
        assert variable in text, variable
    defaults = dict(re.findall(r"\$\{(\w+):-(\d+)\}", text.replace("${SETUP_MEMORY_GIB:-7}", "")))
    shown = dict(re.findall(r"^# ([A-Z0-9_]+)=(\d+)(?:\s|$)", example, re.MULTILINE))
    assert {name: shown[name] for name in defaults if name in shown and name != "SETUP_DISK_GIB"} == {
        name: value for name, value in defaults.items() if name in shown and name != "SETUP_DISK_GIB"
    }


def test_every_setting_in_the_files_is_one(files: tuple[str, ...]) -> None:
    """A name that no section has would stop its service at the start."""
    sections = every_section()
    known = {
        f"TILLWATCH_{section}{'_' if section else ''}{name}".upper()
        for section, cls in sections.items()
        for name in cls.model_fields
    }
    for name, service in merged(files)["services"].items():
        for variable in service.get("environment") or {}:
            if variable.startswith("TILLWATCH_"):
                assert variable.removesuffix("_FILE") in known, f"{name}: {variable}"
    origins = merged(files)["services"]["console"]["environment"]["TILLWATCH_CONSOLE_ALLOWED_ORIGINS"]
    assert json.loads(origins) == ["localhost:5006", "127.0.0.1:5006"]


def test_what_an_image_is_made_from_holds_no_secret_and_no_data() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "deploy/secrets" not in let_in
    assert not {".env", ".git", "tests", ".tillwatch"} & let_in
    for folder in let_in:
        assert (ROOT / folder).is_dir(), folder


def dockerfile() -> str:
    return (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
