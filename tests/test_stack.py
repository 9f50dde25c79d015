"""The stack: what `docker compose up` is given, proven as far as it can be without docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from dashboards.generate import BUCKET, files
from monitor.config import Settings, load
from monitor.sinks.influx import Place
from monitor.stack import COMPOSE, MQTT_USERS, SECRETS, StackError, configuration, docker_trouble, initialised
from tests.servers import free_port
from tests.test_cli import objects, say

ROOT = Path(__file__).parents[1]
PINNED = r"[\w./-]+:\d+\.\d+\.\d+(-alpine)?"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here: apt install openssl")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack") / "it"
    initialised(folder)
    return folder


@pytest.fixture(scope="module")
def composed(stack):
    """As compose understands the file."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not here: apt install docker-compose")
    command = ["docker-compose", "--profile", "collector", "config"]
    done = subprocess.run(command, cwd=stack, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def services(text):
    """Name -> its lines, of a compose file as we write it: two blanks before a name."""
    (_, _, below) = text.partition("\nservices:\n")
    below = re.split(r"^\w", below, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^  (\w+):\n", below, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def contents(folder):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def test_again_it_changes_nothing(stack) -> None:
    before = contents(stack)
    assert initialised(stack) == []
    assert contents(stack) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path) -> None:
    """A compose file that somebody wrote is not ours to replace."""
    (tmp_path / COMPOSE).write_text("services: {}\n")
    with pytest.raises(StackError, match="holds other files"):
        initialised(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["services: {}\n"]


def test_what_is_missing_is_made_and_the_rest_is_kept(stack, tmp_path) -> None:
    folder = shutil.copytree(stack, tmp_path / "copy")
    kept = (folder / "secrets/grafana_password").read_text()
    (folder / "secrets/mqtt_homeassistant").unlink()
    (folder / COMPOSE).write_text("# of an older version\n")
    (folder / "secrets/influxdb_password").chmod(0o644)
    made = initialised(folder)
    assert made == [
        COMPOSE,
        "secrets/influxdb_password (was readable to others)",
        "secrets/mqtt_homeassistant",
        "mosquitto/passwords",
    ]
    assert (folder / "secrets/grafana_password").read_text() == kept
    assert (folder / COMPOSE).read_bytes() == (ROOT / COMPOSE).read_bytes()


def test_secrets_are_ours_alone_and_by_chance(stack, tmp_path) -> None:
    private = [*(stack / "secrets").iterdir(), *(stack / "mosquitto").iterdir(), stack / ".env"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert {
        stat.S_IMODE((stack / name).stat().st_mode) for name in ("secrets", "tokens/grafana", "mosquitto")
    } == {0o700}
    assert {path.name for path in (stack / "secrets").iterdir()} == {
        *SECRETS,
        *(f"mqtt_{user}" for user in MQTT_USERS),
    }
    initialised(tmp_path / "other")
    texts = [
        path.read_text().strip()
        for folder in (stack, tmp_path / "other")
        for path in (folder / "secrets").iterdir()
    ]
    assert len(set(texts)) == len(texts)
    assert min(map(len, texts)) >= 43, "256 bit"


def test_no_secret_stands_anywhere_else(stack) -> None:
    texts = [path.read_text().strip().encode() for path in (stack / "secrets").iterdir()]
    for path in stack.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert not [text for text in texts if text in path.read_bytes()], path


def test_compose_accepts_the_file_and_its_secrets_are_files(stack, composed) -> None:
    """Debian's docker-compose refuses keys that it does not know."""
    for name in (*SECRETS, "mqtt_fasciwatch"):
        assert f"file: {stack}/secrets/{name}" in composed
    texts = [path.read_text().strip() for path in (stack / "secrets").iterdir()]
    assert not [text for text in texts if text in composed]
    broken = (stack / COMPOSE).read_text().replace("mem_limit: 1g", "mem_limits: 1g")
    command = ["docker-compose", "--file", "-", "config"]
    done = subprocess.run(command, cwd=stack, input=broken, capture_output=True, text=True, check=False)
    assert done.returncode


@pytest.mark.parametrize("name", services((ROOT / COMPOSE).read_text(encoding="utf-8")))
def test_each_service_is_pinned_healthy_limited_and_local(name) -> None:
    text = services((ROOT / COMPOSE).read_text(encoding="utf-8"))[name]
    assert "<<: *service" in text
    (image,) = re.findall(r"^    image: (\S+)$", text, re.MULTILINE)
    assert re.fullmatch(PINNED, image)
    once = '    restart: "no"\n' in text
    assert once or "    healthcheck:\n" in text
    assert all(f"    {limit}: " in text for limit in ("mem_limit", "cpus", "pids_limit"))
    published = re.findall(r'"([\d.:]+:\d+)"', text.partition("ports:")[2].partition("\n")[0])
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert "network_mode" not in text
    for key, value in re.findall(r"^      (\w*(?:PASSWORD|TOKEN|SECRET)\w*): (.*)$", text, re.MULTILINE):
        assert key.endswith("_FILE"), key
        assert value.startswith("/run/"), value


def test_who_waits_for_the_tokens(composed) -> None:
    """A service that runs once counts as healthy when it ended well, and that is waited for."""
    text = (ROOT / COMPOSE).read_text(encoding="utf-8")
    for name, what in services(text).items():
        assert ("tokens: {condition: service_completed_successfully}" in what) == (
            name in ("grafana", "collector")
        )
    assert "read_only" not in text
    assert set(services(text)) == {"influxdb", "tokens", "grafana", "mosquitto", "collector"}
    assert 'user: "${FASCIWATCH_USER:?' in text


def test_what_is_mounted_is_there(stack) -> None:
    """Docker would make a folder of root's where a file is missing."""
    for source in re.findall(r"^      - (\./[^:]+):", (stack / COMPOSE).read_text(), re.MULTILINE):
        assert (stack / source).exists(), source
        assert source.startswith("./volumes/") or (stack / source).stat().st_mode & 0o400


def test_the_configuration_is_read_by_our_own_program(stack, tmp_path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(configuration(stack))
    settings = load(path)
    (server,) = settings.influxdb
    assert (server.org, server.bucket, server.token_file) == (
        "fasciwatch",
        BUCKET,
        stack / "tokens/collector/token",
    )
    assert settings.mqtt.password_file == stack / "secrets/mqtt_fasciwatch"
    assert Place(server.url, server.bucket).name
    inside = tomllib.loads((ROOT / "dashboards/services/collector.toml").read_text())
    assert Settings.model_validate(inside).influxdb[0].bucket == BUCKET
    assert f"DOCKER_INFLUXDB_INIT_BUCKET: {BUCKET}" in (stack / COMPOSE).read_text()


# ---- The command ----


def test_the_command_writes_a_configuration_where_there_is_none(tmp_path, capfd) -> None:
    config, folder = tmp_path / "new/config.toml", tmp_path / "it"
    code, out, first = say(capfd, "stack", "init", folder, "--config", config)
    assert (code, "made" in out) == (0, True)
    assert load(config).influxdb
    _, out, _ = say(capfd, "stack", "init", folder, "--config", config, "--json")
    (said,) = objects(out)
    assert (said["made"], said["configured"], said["folder"]) == ([], True, str(folder))
    config.write_text("keep_awake = true\n")
    _, out, err = say(capfd, "stack", "init", folder, "--config", config)
    assert config.read_text() == "keep_awake = true\n"
    assert "[[influxdb]]" in err
    assert (folder / "secrets/grafana_password").read_text().strip() not in err + out + first


@pytest.mark.skipif(os.name != "posix", reason="programs of the tests are scripts")
@pytest.mark.parametrize(
    ("programs", "word"),
    [({}, "docker is not here"), ({"docker": "exit 1"}, "docker has no compose"),
     ({"docker": 'test "$1" = compose'}, "docker does not answer"), ({"docker": "exit 0"}, None)],
)  # fmt: skip
def test_without_docker_it_says_so_in_one_line(programs, word, tmp_path, monkeypatch) -> None:
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    trouble = docker_trouble()
    assert (trouble is None) == (word is None)
    assert word is None or (word in trouble and "\n" not in trouble)


def test_without_openssl_nothing_is_half_made(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="openssl is not here"):
        initialised(tmp_path / "it")
    monkeypatch.undo()
    assert "mosquitto/server.pem" in initialised(tmp_path / "it")


# ---- InfluxDB's tokens ----

INFLUX = """#!/bin/sh
echo "$INFLUX_TOKEN $*" >>"$TOKENS/calls"
case "$1 $2 $3" in
"bucket list"*) printf '0123456789abcdef\\tfasciwatch\\tinfinite\\n' ;;
"v1 dbrp list") cat "$TOKENS/dbrp" 2>/dev/null || true ;;
"v1 dbrp create") echo made >"$TOKENS/dbrp" ;;
"auth list"*) printf 'aa\\tfasciwatch collector\\t***\\nbb\\tsomebody else\\t***\\n' ;;
"auth create"*) printf '{\\n\\t"id": "cc",\\n\\t"token": "made-for-%s=="\\n}\\n' "$4" ;;
esac
"""


def test_tokens_have_the_right_that_is_needed_and_no_other(tmp_path) -> None:
    """A stand-in of the `influx` of InfluxDB 2, which Debian does not have, notes what it is asked for."""
    for name in ("bin", "tokens/collector", "tokens/grafana"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin/influx").write_text(INFLUX)
    (tmp_path / "bin/influx").chmod(0o755)
    (tmp_path / "admin").write_text("the-admin-token\n")
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "BUCKET": "fasciwatch",
        "TOKENS": str(tmp_path / "tokens"),
        "ADMIN_TOKEN_FILE": str(tmp_path / "admin"),
    }  # fmt: skip
    command = ["sh", str(ROOT / "dashboards/services/influxdb-tokens.sh")]
    subprocess.run(command, env=environment, check=True)
    calls = (tmp_path / "tokens/calls").read_text().splitlines()
    assert all(call.startswith("the-admin-token ") for call in calls)
    made = [call.partition(" auth create ")[2] for call in calls if " auth create " in call]
    assert made == [
        "--description fasciwatch collector --write-bucket 0123456789abcdef --json",
        "--description fasciwatch grafana --read-bucket 0123456789abcdef --json",
    ]
    assert [call.partition(" auth delete ")[2] for call in calls if " auth delete " in call] == ["--id aa"]
    assert sum(" v1 dbrp create " in call for call in calls) == 1
    token = tmp_path / "tokens/collector/token"
    assert token.read_text() == "made-for-fasciwatch collector==\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    before = token.read_bytes()
    subprocess.run(command, env=environment, check=True)
    later = (tmp_path / "tokens/calls").read_text().splitlines()[len(calls) :]
    assert not [call for call in later if " create " in call or " delete " in call]
    assert token.read_bytes() == before


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here: apt install shellcheck")
def test_the_script_is_sound() -> None:
    subprocess.run(["shellcheck", ROOT / "dashboards/services/influxdb-tokens.sh"], check=True)


# ---- The broker ----


@pytest.fixture(scope="module")
def broker(stack, tmp_path_factory):
    """Debian's mosquitto with the files as they are shipped and made, its paths and ports apart."""
    if shutil.which("mosquitto") is None or shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto is not here: apt install mosquitto mosquitto-clients")
    folder = tmp_path_factory.mktemp("broker")
    plain, tls = free_port(), free_port()
    text = (stack / "dashboards/services/mosquitto.conf").read_text()
    text = text.replace("/mosquitto/secrets/", f"{folder}/").replace(
        "/mosquitto/config/access", f"{folder}/access"
    )
    text = text.replace("/mosquitto/data/", f"{folder}/")
    text = text.replace("listener 1883", f"listener {plain} 127.0.0.1").replace(
        "listener 8883", f"listener {tls} 127.0.0.1"
    )
    if os.geteuid() == 0:
        text += "user root\n"
    for path in (stack / "mosquitto").iterdir():
        shutil.copy(path, folder / path.name)
    shutil.copy(stack / "dashboards/services/mosquitto.acl", folder / "access")
    (folder / "m.conf").write_text(text)
    process = subprocess.Popen(["mosquitto", "-c", folder / "m.conf"], stderr=subprocess.DEVNULL)
    try:
        yield stack, folder, plain, tls
    finally:
        process.kill()
        process.wait()


def mqtt(program, port, user, password, *rest):
    command = [program, "-h", "127.0.0.1", "-p", str(port), "-V", "5", *rest]
    command += ["-u", user, "-P", password] if user else []
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def password(stack, user):
    return (stack / f"secrets/mqtt_{user}").read_text().strip()


def sent(stack, port, user, topic, *rest):
    """Whether what a user publishes, retained, is there for one who may read all of it."""
    for _ in range(20):
        done = mqtt(
            "mosquitto_pub", port, user, password(stack, user), "-t", topic, "-m", user, "-r", "-q", "1", *rest
        )
        if "refused" not in done.stderr.lower() or "authorised" in done.stderr:
            break
    reader = "fasciwatch" if topic.startswith("fasciwatch") else "homeassistant"
    read = mqtt("mosquitto_sub", port, reader, password(stack, reader), "-t", topic, "-C", "1", "-W", "1", *rest)
    return user in read.stdout


def test_users_may_say_what_is_theirs_and_nothing_else(broker) -> None:
    """Passwords are those of the secrets, by our own hash."""
    stack, _, port, _ = broker
    assert sent(stack, port, "fasciwatch", "fasciwatch/laptop/state")
    assert sent(stack, port, "fasciwatch", "homeassistant/device/x/config")
    assert sent(stack, port, "homeassistant", "fasciwatch/laptop/alert/test/set")
    assert not sent(stack, port, "homeassistant", "fasciwatch/laptop/alert/test")
    assert not sent(stack, port, "fasciwatch", "homeassistant/light/kitchen/config")


def test_nobody_comes_in_without_a_password(broker) -> None:
    _, _, port, _ = broker
    assert mqtt("mosquitto_pub", port, "", "", "-t", "x", "-m", "x").returncode
    assert mqtt("mosquitto_pub", port, "fasciwatch", "guessed", "-t", "x", "-m", "x").returncode


def test_other_computers_are_given_tls(broker) -> None:
    """With the certificate that was made, which is its own authority, also to the strictest of checks."""
    stack, folder, _, port = broker
    assert sent(stack, port, "fasciwatch", "fasciwatch/laptop/tls", "--cafile", str(folder / "server.pem"))
    assert mqtt(
        "mosquitto_pub", port, "fasciwatch", password(stack, "fasciwatch"), "-t", "x", "-m", "x"
    ).returncode
    context = ssl.create_default_context(cafile=folder / "server.pem")
    context.verify_flags |= getattr(ssl, "VERIFY_X509_STRICT", 0)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_what_grafana_is_given_names_no_secret() -> None:
    text = files()[Path("provisioning/datasources/fasciwatch.yaml")]
    (source,) = json.loads(text)["datasources"]
    assert source["secureJsonData"] == {"httpHeaderValue1": "Token $GF_FASCIWATCH_TOKEN"}
    assert source["jsonData"]["dbName"] == BUCKET
    assert "GF_FASCIWATCH_TOKEN__FILE: /run/tokens/token" in (ROOT / COMPOSE).read_text()


# ---- What the document says ----


def test_the_document_names_what_is_pinned_and_shown() -> None:
    text, compose = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/stack.md", COMPOSE))
    for name, image in (
        ("InfluxDB", "influxdb"),
        ("Grafana", "grafana/grafana"),
        ("Mosquitto", "eclipse-mosquitto"),
    ):
        (version,) = set(re.findall(rf"image: {image}:([\d.]+)", compose))
        assert f"{name} {version}" in text
    pictures = re.findall(r"\((dashboard-\w+\.svg)\)", text)
    assert len(pictures) == 4
    for picture in pictures:
        assert "This is not Grafana" in (ROOT / "docs" / picture).read_text(encoding="utf-8")


def test_what_the_document_overrides_is_accepted(stack, tmp_path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not here: apt install docker-compose")
    (override,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/stack.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "override.yml").write_text(override)
    command = ["docker-compose", "--file", COMPOSE, "--file", tmp_path / "override.yml", "config"]
    done = subprocess.run(command, cwd=stack, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8883:8883" in done.stdout
