"""A cohort on a cluster of this computer: killed workers and schedulers, broken files, a bucket."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.test_cli import home, say  # noqa: F401
from tests.test_cohort_pieces import recording, tables

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

PROGRAM = Path(sys.executable).with_name("fasciwatch")
LONG_S = 300


def command(folder, out, *options):
    return [PROGRAM, "cohort", folder, "--out", out, "--workers", "2", "--piece", "0.01", *options]


def done(folder, out, *options, **environment):
    ended = subprocess.run(
        [str(each) for each in command(folder, out, *options)],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        env=os.environ | environment,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def begun(folder, out):
    """The same, on its way."""
    words = [str(each) for each in command(folder, out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def until(condition, process=None):
    deadline = time.monotonic() + LONG_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Four people, one file that is broken, and a diary of one."""
    folder = tmp_path_factory.mktemp("people")
    first = recording(folder / "sub-P01" / "a.edf", 60, seed=1)
    for n in (2, 3, 4):
        path = folder / f"sub-P0{n}" / "a.edf"
        path.parent.mkdir()
        shutil.copy(first, path)
    (folder / "sub-P05").mkdir()
    (folder / "sub-P05" / "b.edf").write_bytes(b"0" + b" " * 999)
    (folder / "participants.tsv").write_text(
        "participant_id\tgroup\n" + "".join(f"sub-P0{n}\tA\n" for n in range(1, 6))
    )
    return folder


@pytest.fixture(scope="module")
def undisturbed(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    ended = done(cohort, out, "--json")
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    return tables(out), answer, ended.stderr


def test_broken_files_are_told_and_skipped(undisturbed):
    """The others are done, and the people of a group are its sample."""
    found, answer, said = undisturbed
    assert "sub-P05/b.edf" not in {row[1] for row in found["minutes"]}
    assert [line for line in said.splitlines() if "b.edf" in line and line.endswith("skipped")]
    assert "dashboard: http://127.0.0.1:" in said
    assert {each["name"]: each["state"] for each in answer["outcomes"]} == {
        **{f"sub-P0{n}/a.edf": "done" for n in (1, 2, 3, 4)},
        "sub-P05/b.edf": "broken",
    }
    rate = next(each for each in answer["rates"] if each["site"] == "calf")
    assert (rate["group"], rate["people"]) == ("A", 4)
    assert rate["per_hour"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_killed_worker_changes_nothing(cohort, undisturbed, tmp_path):
    """Its task goes to another, which goes on at the mark."""
    process = begun(cohort, tmp_path)
    until(lambda: list(tmp_path.glob("marks/*/*.pickle")), process)
    for nanny in children(process.pid)[-1:]:
        os.kill(nanny, signal.SIGKILL)
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert tables(tmp_path) == undisturbed[0]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_killed_scheduler_is_gone_on_with(cohort, undisturbed, tmp_path):
    """The scheduler of this computer is the program itself. What was done is not done again."""
    process = begun(cohort, tmp_path)
    until(lambda: list(tmp_path.glob("marks/*/*.pickle")), process)
    orphans = children(process.pid)
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("twitches/*/*/*-00001.parquet")}
    until(lambda: not any(Path(f"/proc/{orphan}").exists() for orphan in orphans))
    ended = done(cohort, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert tables(tmp_path) == undisturbed[0]
    assert before.items() <= {path: path.stat().st_mtime_ns for path in before}.items()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_bucket_is_a_place_like_any_other(cohort, undisturbed, tmp_path):
    """Read from and written to a real S3 server on loopback; one that is not there is one line."""
    server = shutil.which("moto_server")
    if server is None:
        pytest.skip("moto_server is not installed: pip install 'moto[server]' in an environment of its own")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    keys = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }
    with subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _put(f"{url}/study"), None)
            for path in cohort.rglob("*"):
                if path.is_file():
                    assert _put(f"{url}/study/in/{path.relative_to(cohort).as_posix()}", path.read_bytes())
            ended = done("s3://study/in", "s3://study/out", **keys)
            assert ended.returncode == 0, ended.stderr
            gone = done("s3://nobody/in", tmp_path / "x", **keys)
            assert gone.returncode == 1
            assert len(gone.stderr.splitlines()) == 1
            assert "s3://nobody/in" in gone.stderr
            _fetch(keys, "study/out", tmp_path / "out")
        finally:
            process.terminate()
    assert tables(tmp_path / "out") == undisturbed[0]


def _put(url, data=b""):
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="PUT")
        ) as reply:
            return reply.status == 200
    except urllib.error.URLError:
        return False


def _fetch(keys, prefix, folder):
    script = (
        "import sys; from obstore.fsspec import FsspecStore; fs = FsspecStore('s3');"
        "[(__import__('pathlib').Path(t := sys.argv[2] + '/' + n[len(sys.argv[1]) + 1:]).parent.mkdir("
        "parents=True, exist_ok=True), fs.get_file(n, t)) for n in fs.find(sys.argv[1])]"
    )
    subprocess.run([sys.executable, "-c", script, prefix, str(folder)], env=os.environ | keys, check=True)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_scheduler_without_a_worker_is_not_waited_for_for_ever(cohort, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [PROGRAM.with_name("dask"), "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    scheduler = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_open(port), scheduler)
        ended = done(cohort, tmp_path, "--scheduler", f"tcp://127.0.0.1:{port}")
    finally:
        scheduler.terminate()
        scheduler.wait(10)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    assert f"Start one: dask worker tcp://127.0.0.1:{port}" in ended.stderr


def is_open(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_wrong_places_are_one_line(home, capfd, tmp_path, cohort):  # noqa: F811
    """A folder that is not there, one without recordings, results of other settings; no scheduler, no room."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cohort.json").write_text("{}")
    for folder, out, options, word in (
        (tmp_path / "none", tmp_path / "o", (), "no such folder"),
        (tmp_path / "empty", tmp_path / "o", (), "holds no recording"),
        (cohort, tmp_path / "other", (), "other settings"),
        (cohort, tmp_path / "o", ("--scheduler", "tcp://127.0.0.1:1"), "no scheduler answers"),
        (cohort, tmp_path / "o", ("--scheduler", "nonsense"), "tcp://host:8786"),
        (cohort, tmp_path / "o", ("--scheduler", "foo://x:1"), "tcp://host:8786"),
        (cohort, tmp_path / "o", ("--scheduler", "tcp://x"), "tcp://host:8786"),
        (cohort, tmp_path / "o", ("--scheduler", "tls://127.0.0.1:1"), "certificates"),
        (cohort, tmp_path / "o", ("--memory", "lots"), "no amount of memory"),
        (cohort, tmp_path / "o", ("--memory", "100MB"), "at least --memory 400MB"),
    ):
        code, said, err = say(capfd, "cohort", folder, "--out", out, *options)
        assert (code, said, len(err.splitlines())) == (1, "", 1), err
        assert word in err
