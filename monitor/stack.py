"""What `docker compose up` needs beside the files that we ship: secrets, users, a certificate, folders.

    shipped files ─► folder ─┬─ docker-compose.yml, dashboards/   as shipped, written anew by each version
                             └─ secrets/, mosquitto/, .env, …     made once, and left as they are

Rules of this module:

* Again, it changes nothing. What was made stays; of what is missing it makes only that.
* A secret is made by chance, is nobody's default, and stands in a file of its own that only its owner may read;
  what refers to it names the file.
* Tokens of InfluxDB are made by InfluxDB, when it first runs, with the rights that each needs and no more: see
  dashboards/services/influxdb-tokens.sh.
* Nothing here needs a network, or docker.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from firmware_interface.errors import Fault

COMPOSE: Final = "docker-compose.yml"
SECRETS: Final = ("influxdb_password", "influxdb_admin_token", "grafana_password")
MQTT_USERS: Final = ("fasciwatch", "homeassistant")
INFLUXDB_URL: Final = "http://localhost:8086"
_FOLDERS = (
    "tokens/collector",
    "tokens/grafana",
    "volumes/influxdb",
    "volumes/influxdb-config",
    "volumes/grafana",
    "volumes/mosquitto",
    "volumes/collector",
)
_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700
_ITERATIONS = 20_000
_CERTIFICATE_DAYS = 3650
_ASK_S = 20


class StackError(Fault):
    """The stack cannot be set up; the person's to mend."""


def initialised(folder: Path) -> list[str]:
    """Make a folder that `docker compose up` can be run in; names of what was made or written anew.

    Raises:
        StackError: something cannot be written, or openssl is missing.
    """
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        _refuse_others(folder)
        return [*_shipped(folder), *_folders(folder), *_secrets(folder), *_broker(folder), *_environment(folder)]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StackError(f"{error.filename or folder}: {reason}", "Name another folder") from error


def _refuse_others(folder: Path) -> None:
    """A folder with something else in it could have a docker-compose.yml or .env that is not ours to change."""
    compose = folder / COMPOSE
    begun = compose.is_file() and b"fasciwatch stack init" in compose.read_bytes()
    is_ours = begun or any((folder / "secrets" / name).exists() for name in SECRETS)
    if any(folder.iterdir()) and not is_ours:
        raise StackError(f"{folder} holds other files already", "Name a new folder, or an empty one")


def configuration(folder: Path) -> str:
    """What the configuration needs to feed the stack."""
    return f"""\
[[influxdb]]
url = "{INFLUXDB_URL}"
org = "fasciwatch"
bucket = "fasciwatch"
token_file = {_toml(folder / "tokens/collector/token")}

[mqtt]
host = "localhost"
tls = false
username = "fasciwatch"
password_file = {_toml(folder / "secrets/mqtt_fasciwatch")}
"""


def docker_trouble() -> str | None:
    """Why `docker compose up` would not work here, and what to do; `None` where it would."""
    if shutil.which("docker") is None:
        return "docker is not here: install Docker or Podman with its docker command, then come back"
    if _fails("docker", "compose", "version"):
        return "docker has no compose: install the package docker-compose-plugin, or docker-compose-v2"
    if _fails("docker", "info"):
        return "docker does not answer: start it, or join the group docker (`sudo usermod -aG docker $USER`)"
    if hasattr(os, "getuid") and os.getuid() == 0:
        return "the services would run as you, who are root, which they refuse: init as the user who watches"
    return None


def _fails(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_ASK_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 0


def _toml(path: Path) -> str:
    """A path as TOML has it, whatever the system puts between folders."""
    return '"' + str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---- What is shipped ----


def _shipped(folder: Path) -> Iterator[str]:
    source = _source()
    for path in _shipped_files(source):
        target = folder / path.relative_to(source)
        text = path.read_bytes()
        if not target.exists() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
            yield str(target.relative_to(folder))


def _source() -> Path:
    """In a wheel beside this module; in a checkout its root."""
    packed = Path(__file__).with_name("stack_files")
    return packed if packed.is_dir() else Path(__file__).parents[1]


def _shipped_files(source: Path) -> list[Path]:
    below = [
        path for name in ("json", "provisioning", "services") for path in (source / "dashboards" / name).rglob("*")
    ]
    return [source / COMPOSE, *sorted(path for path in below if path.is_file())]


# ---- What is made once ----


def _folders(folder: Path) -> Iterator[str]:
    """Before docker makes them, which would be root's."""
    for name in _FOLDERS:
        if not (folder / name).is_dir():
            (folder / name).mkdir(mode=_PRIVATE_FOLDER, parents=True)
            yield f"{name}/"


def _secrets(folder: Path) -> Iterator[str]:
    (folder / "secrets").mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    for name in (*SECRETS, *(f"mqtt_{user}" for user in MQTT_USERS)):
        yield from _made(folder, f"secrets/{name}", secrets.token_urlsafe(32))


def _made(folder: Path, name: str, text: str) -> Iterator[str]:
    """A file that only its owner may read, where there is none; one that others could read is closed to them."""
    path = folder / name
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(_PRIVATE)
            yield f"{name} (was readable to others)"
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    yield name


def _broker(folder: Path) -> Iterator[str]:
    """Users and certificate. A password that was changed in its file reaches the broker with the next `init`."""
    (folder / "mosquitto").mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    users = "\n".join(_user(user, (folder / f"secrets/mqtt_{user}").read_text().strip()) for user in MQTT_USERS)
    path = folder / "mosquitto/passwords"
    if path.exists() and path.read_text().rstrip("\n") != users:
        path.unlink()
    yield from _made(folder, "mosquitto/passwords", users)
    if not (folder / "mosquitto/server.pem").exists():
        _certify(folder / "mosquitto")
        yield "mosquitto/server.pem"


def _user(name: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512. The salt is the secret's own, so that the same one
    gives the same line; it is as long as chance, and no two are alike."""
    salt = hashlib.sha256(f"{name}:{password}".encode()).digest()[:12]
    hashed = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{name}:$7${_ITERATIONS}${b64encode(salt).decode()}${b64encode(hashed).decode()}"


def _certify(folder: Path) -> None:
    """A certificate for this computer's name, which is its own authority: others are given it as `ca_file`."""
    if shutil.which("openssl") is None:
        raise StackError("openssl is not here: the broker needs a certificate", "Install openssl, then come back")
    host = socket.gethostname()
    names = ",".join(dict.fromkeys((f"DNS:{host}", f"DNS:{host}.local", "DNS:localhost", "IP:127.0.0.1")))
    key, made = folder / "server.key", folder / "server.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", str(_CERTIFICATE_DAYS), "-subj", f"/CN={host[:64]}", "-addext", f"subjectAltName={names}",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", str(key), "-out", str(made),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)  # noqa: S603
    if done.returncode:
        raise StackError(
            f"openssl made no certificate: {done.stderr.strip().splitlines()[-1]}", "Try another openssl"
        )


def _environment(folder: Path) -> Iterator[str]:
    """Who the services run as: you, so that they can read what only you can. Rootless docker calls you 0."""
    user = f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "1000:1000"
    yield from _made(folder, ".env", f"COMPOSE_PROJECT_NAME=fasciwatch\nFASCIWATCH_USER={user}")
