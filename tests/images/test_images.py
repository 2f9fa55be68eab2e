"""What the images are, and what docker-compose.yml makes of them, from a broker that stops to `down` and `up`."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from bench.browser import launch
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.statement import fill
from notifier.model import OPEN
from tests.images.conftest import FILES, ONCE, TARGETS, Compose, eventually, moment, number
from tests.images.engine import Engine

FATALS = "{alerts} WHERE severity = 'FATAL' AND status = 'FIRING'"
# What an image may weigh unpacked (MB), with the base as it stands in here.
LIMITS = {
    "setup": 750,
    "console": 1100,
    "lite": 1000,
    "notifier": 850,
    "producers": 750,
    "sandbox": 750,
    "gateway": 1000,
    "spark": 2000,
}


def test_images_are_small_and_bring_nothing_that_builds(engine: Engine, images: dict[str, float]) -> None:
    sizes = {target: engine.inspect(f"tillwatch/{target}:0.1.0")["Size"] / 1e6 for target in TARGETS}
    print("\nMB:", {name: round(size) for name, size in sizes.items()})
    print("built in s:", {name: round(seconds) for name, seconds in images.items()})
    assert {name for name, size in sizes.items() if size > LIMITS[name]} == set()
    for target in TARGETS:
        image = f"tillwatch/{target}:0.1.0"
        found = engine.inspect(image)["Config"]
        assert found["User"] == "10001:10001", target
        assert found["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
        look = "id -u; for each in gcc make uv pip git; do command -v $each; done; touch /app/x 2>&1"
        words = ("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", f"{look}; true")
        said = engine.docker(*words).splitlines()
        assert said == ["10001", "touch: cannot touch '/app/x': Permission denied"], f"{target}: {said}"


def test_compose_builds_these_images(compose: Compose) -> None:
    """From the same layers, for here only the first build may ask the network."""
    compose("build")
    for service in ("setup", "console", "lite", "notifier", "producers", "sandbox", "dremio", "driver"):
        image = compose.engine.inspect(compose.container(service))["Config"]["Image"]
        assert compose.engine.inspect(image)["Id"] == compose.engine.inspect(compose.container(service))["Image"], image


def test_what_lies_beside_the_sources_is_in_no_layer(engine: Engine, images: dict[str, float], tmp_path: Path) -> None:
    """Built from a clone in which people keep their secrets where the docs tell them to, data and history."""
    clone = tmp_path / "clone"
    names = ("docker-compose*.yml", ".dockerignore", ".venv", ".tools", ".git", ".tillwatch*", "tests", "bench", "docs")
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*names, "__pycache__"), symlinks=True)
    shutil.copy(ROOT / ".dockerignore", clone)
    marker = "otter-kettle-in-a-layer"
    for name in (".env", "deploy/secrets/dremio_password", ".tillwatch/ledger.db", ".git/config", "backup/ledger.db"):
        path = clone / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(marker, encoding="utf-8")
    tags = []
    for target in TARGETS:
        tags.append(f"layers/{target}")
        words = ("--network", "host", "-f", f"{clone}/deploy/Dockerfile", "--target", target, "-t", tags[-1])
        engine.docker("build", *words, str(clone))
    ours = "Makes the bucket that the tables lie in"
    found = engine.said_in_layers(tags, (marker, ours))
    engine.docker("rmi", *tags)
    assert found == {ours}


def test_no_step_of_a_build_names_a_secret(engine: Engine, images: dict[str, float]) -> None:
    for target in TARGETS:
        history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", f"tillwatch/{target}:0.1.0")
        assert not re.search(r"(?i)(password|secret|token)\w*=\S", history), target


def test_services_start_in_the_order_of_their_health(compose: Compose) -> None:
    print("\nhealthy after s:", {name: round(seconds) for name, seconds in compose.healthy_s.items()})

    def started(service: str) -> float:
        return moment(compose.state(service)["StartedAt"]).timestamp()

    def ended(service: str) -> float:
        return moment(compose.state(service)["FinishedAt"]).timestamp()

    for later in ("minio", "nessie", "dremio-setup"):
        assert ended("setup") <= started(later), later
    for later in ("console", "lite", "notifier"):
        assert ended("dremio-setup") <= started(later), later
    for service in ("kafka1", "kafka2", "kafka3", "minio", "nessie"):
        assert started(service) < started("driver"), service
    assert compose.state("driver")["Restarting"] is False
    assert "password, shown this once" in compose.said("setup")


def test_what_runs_is_not_root_on_a_root_that_is_read_only(compose: Compose) -> None:
    for service in ("console", "lite", "notifier", "driver", "dremio", "producers", "sandbox"):
        container = compose.container(service)
        assert compose.engine.docker("exec", container, "id", "-u").strip() == "10001"
        assert compose.engine.inspect(container)["HostConfig"]["ReadonlyRootfs"] is True
        refused = subprocess.run(
            ["docker", "exec", "-u", "0", container, "touch", "/app/x"],
            env=compose.engine.environment,
            capture_output=True,
            text=True,
        )
        assert "Read-only file system" in refused.stderr, service


def test_ports_are_published_on_this_machine_only(compose: Compose) -> None:
    for service in compose.services():
        if service.startswith("spark-"):
            continue
        for bindings in (compose.engine.inspect(compose.container(service))["NetworkSettings"]["Ports"] or {}).values():
            assert {binding["HostIp"] for binding in bindings or ()} <= {"127.0.0.1"}, service


def test_an_order_reaches_flight_console_and_lite_and_a_fatal_the_sandbox(compose: Compose) -> None:
    with compose.dremio() as dremio:
        count = "SELECT COUNT(*) AS n FROM {orders_processed}"
        eventually(lambda: number(dremio, count) > 50, 120, "orders in Flight's answers")
    password = re.search(r"shown this once: (\S+)", compose.said("setup"))
    assert password is not None
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(compose.url("CONSOLE_PORT"))
        page.fill("#username", "ada")
        page.fill("#password", password[1])
        page.click("button")
        expect(page.locator('[data-list="latest_orders"] tr')).not_to_have_count(0, timeout=60_000)
        before = page.get_attribute("body", "data-commit")
        eventually(lambda: page.get_attribute("body", "data-commit") != before, 30, "a new commit on the page")
        page.screenshot(path=str(compose.folder / "console.png"))
        lite = browser.new_page()
        lite.goto(compose.url("LITE_PORT"))
        expect(lite.get_by_text(re.compile(r"^o-\w+")).first).to_be_visible(timeout=60_000)
        lite.screenshot(path=str(compose.folder / "lite.png"))
        browser.close()
    print(f"\nscreenshots: {compose.folder}")
    eventually(lambda: told(compose), 240, "a FATAL in the sandbox")

    def mails() -> list[str]:
        return [str(mail) for mail in compose.get("SANDBOX_PORT", "/messages")[1]["email"]]

    eventually(mails, 60, "an email in the sandbox")
    assert "payments" in mails()[0]


def told(compose: Compose) -> list[str]:
    """Slack's messages in the sandbox, by what names them there: their texts are edited."""
    status, found = compose.get("SANDBOX_PORT", "/messages")
    return [message["ts"] for message in found["slack"]] if status == 200 else []


def test_the_notifiers_api_asks_for_its_token(compose: Compose) -> None:
    assert compose.get("NOTIFIER_PORT", "/api/deliveries")[0] == 401
    token = compose.secret("notifier_api_token")
    status, found = compose.get("NOTIFIER_PORT", "/api/deliveries", Authorization=f"Bearer {token}")
    assert status == 200
    assert found["counts"]["sent"] > 0


def test_a_broker_that_stops_for_a_minute_is_not_missed(compose: Compose) -> None:
    compose("stop", "-t", "20", "producers")
    held = compose.log_ends()
    compose.start_producers()
    before = compose.log_ends()
    compose("stop", "-t", "10", "kafka2")
    time.sleep(60)
    assert sum(compose.log_ends().values()) > sum(before.values()) + 60 * 20
    compose("start", "kafka2")
    eventually(lambda: compose.is_well("kafka2"), 120, "kafka2 healthy")
    assert compose.state("producers")["Running"] is True
    assert compose.engine.inspect(compose.container("producers"))["RestartCount"] == 0
    assert "Traceback" not in compose.said("producers")
    compose("stop", "-t", "20", "producers")
    assert compose.delivered() == compose.log_ends() - held
    compose.start_producers()


def test_the_killed_driver_is_started_again_and_the_tables_are_right(compose: Compose) -> None:
    """What a batch was about is done once."""
    before = compose.state("driver")["StartedAt"]
    compose.engine.docker("exec", compose.container("driver"), "true")
    compose.send("driver", signal.SIGKILL)
    eventually(lambda: compose.state("driver")["StartedAt"] != before, 60, "the driver started again")
    compose("stop", "-t", "20", "producers")
    assert compose.wait_all_in() > 0
    with compose.dremio() as dremio:
        keys = "SELECT event_key FROM {orders_processed} GROUP BY event_key HAVING COUNT(*) > 1"
        doubled = number(dremio, f"SELECT COUNT(*) AS n FROM ({keys}) AS doubled")
        raw = number(dremio, "SELECT COUNT(*) AS n FROM {orders_processed}")
        kpi = number(dremio, "SELECT SUM(orders_count) AS n FROM {orders_revenue_per_minute}")
    assert doubled == 0
    assert raw == kpi


def is_told(compose: Compose, dremio: Dremio, token: str) -> bool:
    """Whether each FATAL that the tables have by now was told by Slack and by email, and nothing is left to tell."""
    answers = [
        compose.get("NOTIFIER_PORT", path, Authorization=f"Bearer {token}")
        for path in ("/api/incidents?limit=1000", "/api/deliveries?limit=1")
    ]
    if any(status != 200 for status, _ in answers):
        return False
    [(_, heard), (_, sent)] = answers
    of_each = f"SELECT incident_id, COUNT(*) AS n FROM {FATALS} GROUP BY incident_id"
    due = {row["incident_id"]: row["n"] for row in dremio.sql(fill(of_each, None, {})).to_pylist()}
    told = {
        one["incident_id"]: one["alerts"]
        for one in heard["incidents"]
        if {place["channel"] for place in one["told"] if place["state"] == "sent"} >= {"slack", "email"}
    }
    return due.items() <= told.items() and not any(sent["counts"][state] for state in OPEN)


def test_a_killed_notifier_loses_nothing_and_sends_nothing_twice(compose: Compose) -> None:
    """Killed before it could see a FATAL, and again with its messages in hand: Slack has taken one, mail has not."""
    token, count = compose.secret("notifier_api_token"), f"SELECT COUNT(*) AS n FROM {FATALS}"
    compose("stop", "-t", "20", "producers")
    with compose.dremio() as dremio:
        eventually(lambda: is_told(compose, dremio, token), 240, "the FATALs before told")
        known = number(dremio, count)
        # It would tell the next one before this test could see it.
        compose.send("notifier", signal.SIGSTOP)
        # Of another service, and at once: that of the shoppers comes 120 s after their start.
        outage = ("shoppers", "--flat", "--sink", "kafka", "--rate", "40", "--incident", "search@2s")
        compose("run", "-d", "--no-deps", "--name", "outage", "producers", *outage)
        eventually(lambda: number(dremio, count) > known, 240, "the next FATAL")
        compose.break_next("slack", "accept_and_hang")
        compose.break_next("smtp", "hang")
        compose.send("notifier", signal.SIGKILL)
        eventually(lambda: compose.get("SANDBOX_PORT", "/faults") == (200, []), 180, "a message and an email in hand")
        compose.send("notifier", signal.SIGKILL)
        compose.engine.docker("rm", "-f", "outage")
        eventually(lambda: is_told(compose, dremio, token), 240, "each FATAL told")
    messages = compose.get("SANDBOX_PORT", "/messages")[1]
    found = compose.get("NOTIFIER_PORT", "/api/deliveries?limit=1000", Authorization=f"Bearer {token}")[1]
    assert found["counts"]["dead"] == 0
    # An edit is no message of its own.
    sent = [each for each in found["deliveries"] if each["state"] == "sent" and each["kind"] != "edit"]
    slack = [delivery["receipt"] for delivery in sent if delivery["channel"] == "slack"]
    emails = [delivery["receipt"] for delivery in sent if delivery["channel"] == "email"]
    assert sorted(message["ts"] for message in messages["slack"]) == sorted(slack)
    assert sorted(mail["message_id"] for mail in messages["email"]) == sorted(emails)
    firsts = [delivery for delivery in sent if delivery["kind"] == "first" and delivery["channel"] == "slack"]
    assert sum("thread_ts" not in message for message in messages["slack"]) == len(firsts)
    began = Counter((each["incident_id"], each["channel"]) for each in sent if each["kind"] in ("first", "joined"))
    assert set(began.values()) == {1}


def test_down_and_up_lose_nothing(compose: Compose) -> None:
    compose("stop", "-t", "20", "producers")
    rows, messages = compose.wait_all_in(), told(compose)
    password = compose.secret("console_password")
    compose("down", "-t", "30")
    print(f"\nup again in {compose.up():.0f} s")
    compose("stop", "-t", "20", "producers")
    assert compose.wait_all_in() >= rows
    assert compose.secret("console_password") == password
    assert told(compose)[: len(messages)] == messages or set(messages) <= set(told(compose))
    assert "there already" in compose.said("setup")
    assert password not in compose.said("setup")


def test_a_backup_brings_back_what_lost_volumes_held(compose: Compose, tmp_path: Path) -> None:
    """By the commands of docs/operations.md."""
    tmp_path.chmod(0o777)
    compose("stop", "-t", "20", "producers")
    rows, messages = compose.wait_all_in(), told(compose)

    def once(service: str, *words: str) -> None:
        compose("run", "--rm", "--no-deps", "-v", f"{tmp_path}:/backup", service, *words)

    once("dremio-setup", "python", "-m", "pipeline.storage.backup", "save", "/backup")
    once("notifier", "python", "-m", "notifier", "--save-ledger", "/backup/ledger.db")
    compose("down", "-t", "30")
    for volume in ("nessie-data", "minio-data", "notifier-data"):
        compose.engine.docker("volume", "rm", f"{compose.project}_{volume}")
    compose("up", "-d", "--no-build", "nessie", "minio")
    eventually(lambda: compose.is_well("nessie") and compose.is_well("minio"), 120, "Nessie and MinIO healthy")
    once("dremio-setup", "python", "-m", "pipeline.storage.backup", "restore", "/backup")
    once("notifier", "sh", "-c", "rm -f /data/ledger.db-*; cp /backup/ledger.db /data/ledger.db")
    compose.up()
    compose("stop", "-t", "20", "producers")
    assert compose.wait_all_in() >= rows
    assert set(messages) <= set(told(compose))


def test_the_driver_works_on_executors_as_well(compose: Compose, tmp_path: Path) -> None:
    """As docker-compose.yml alone has them: Spark's master, a worker, and the driver beside them."""
    own = yaml.safe_load((ROOT / FILES[0]).read_text(encoding="utf-8"))["services"]
    services = {
        name: {"profiles": ["demo"], "environment": own[name]["environment"], "mem_limit": own[name]["mem_limit"]}
        for name in ("spark-master", "spark-worker", "driver")
    }
    file = tmp_path / "executors.yml"
    file.write_text(yaml.safe_dump({"services": services}), encoding="utf-8")
    published = "tillwatch_ingest_publishes_total"
    compose("start", "producers")
    compose("up", "-d", "--no-build", "spark-master", "spark-worker", "driver", more=file)
    driver = compose.container("driver")
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5009/metrics').read().decode())"

    def publishes() -> float:
        ran = subprocess.run(
            ["docker", "exec", driver, "python", "-c", ask],
            env=compose.engine.environment,
            capture_output=True,
            text=True,
        )
        found = re.search(rf"^{published} (\S+)$", ran.stdout, re.MULTILINE)
        return float(found[1]) if found else 0

    eventually(lambda: publishes() >= 5, 180, "five publishes of a driver on executors")
    executors = compose.engine.docker("exec", compose.container("spark-worker"), "sh", "-c", "cat /proc/[0-9]*/cmdline")
    assert "CoarseGrainedExecutorBackend" in executors
    eventually(lambda: compose.is_well("spark-worker"), 60, "a worker that is well")
    compose("stop", "-t", "20", "producers")
    rows = compose.wait_all_in()
    assert rows > 0
    # The maintenance of docs/operations.md: executors reach it by the driver's name.
    compose("stop", "driver", more=file)
    maintain = ("driver", "python", "spark-apps/maintain.py")
    said = compose("run", "--rm", "--no-deps", "--use-aliases", "-e", "TMPDIR=/data", *maintain, more=file)
    assert " files merged, " in said
    assert compose.wait_all_in() == rows
    compose("up", "-d", "--no-build", "driver")
    compose("rm", "-s", "-f", "spark-worker", "spark-master", more=file)


def test_a_busy_port_is_said_by_name(compose: Compose) -> None:
    code, said = compose.attempt("up", "-d", "--no-build", "sandbox", project="second")
    compose.attempt("down", "-v", project="second")
    assert code != 0
    assert str(compose.ports["SANDBOX_PORT"]) in said
    assert "Traceback" not in said


def test_a_secret_that_will_not_do_is_one_sentence_and_destroys_nothing(compose: Compose) -> None:
    before = compose.secret("dremio_password")
    code, said = compose.attempt("run", "--rm", "setup", TILLWATCH_DREMIO_PASSWORD="otter")
    assert code == 2
    assert "TILLWATCH_DREMIO_PASSWORD has to have at least 8 characters" in said
    assert compose.secret("dremio_password") == before


@pytest.mark.parametrize(
    ("service", "secret", "sentence"),
    [
        ("dremio-setup", "TILLWATCH_DREMIO_PASSWORD_FILE", "does not let user 'dremio' in"),
        ("bucket", "TILLWATCH_S3_SECRET_KEY_FILE", "correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE"),
    ],
)
def test_a_secret_of_another_is_one_sentence(
    compose: Compose, tmp_path: Path, service: str, secret: str, sentence: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("otter-kettle-1\n", encoding="utf-8")
    mine = ("-v", f"{wrong}:/wrong:ro", "-e", f"{secret}=/wrong")
    code, said = compose.attempt("run", "--rm", "--no-deps", *mine, service)
    assert code == 2, said
    assert sentence in said
    assert "Traceback" not in said
    assert "otter-kettle" not in said


@pytest.mark.parametrize("service", ONCE)
def test_what_runs_once_may_run_again(compose: Compose, service: str) -> None:
    code, said = compose.attempt("run", "--rm", "--no-deps", service)
    assert code == 0, said
