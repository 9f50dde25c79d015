"""The commands `fasciwatch page` and `fasciwatch labels`, and the page beside `run` and `demo`."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from monitor import config, service
from monitor.credentials import credential
from monitor.labelled import labelled_lines
from monitor.page import security
from monitor.terminal import ConfigFile, DataDir, note, readable, say

_TOKEN = "page.token"  # noqa: S105 - a file
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - with a token and TLS only
_LEAVE_S = 5.0


def page(
    address: Annotated[str, typer.Option(help="Where to listen; by default this computer alone.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: page.port, or the next free one.")] = 0,
    phone: Annotated[bool, typer.Option("--phone", help="For your own network: token, TLS, and a QR link.")] = False,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="In a browser, on a desktop.")] = True,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Show it all in a browser: signal, diary, history, answers."""
    settings = config.load(config_file)
    folder = data or readable(config_file, data)
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(folder / "page"))  # where it would keep what we never give it
    from monitor.page import server  # noqa: PLC0415 - seconds to import, and only here

    reach = _reach(settings, folder, address, port, phone=phone)
    server.serve(folder, settings, config_file, reach, opened=browser, until_left=child, say=note)


def _reach(settings: config.Settings, folder: Path, address: str, port: int, *, phone: bool):
    from monitor.page import server  # noqa: PLC0415

    wanted = settings.page
    listen = address or (_EVERYWHERE if phone and security.is_loopback(wanted.address) else wanted.address)
    token, certificate, key = credential("page", wanted.token_file), wanted.certificate, wanted.key
    names = wanted.names
    if phone:
        token = token or _made_token(folder)
        if certificate is None:
            from monitor.page.certificate import made  # noqa: PLC0415
            names_ = server.Reach(listen, 0, names=names).all_names
            certificate, key = made(folder, names_)
    reach = server.Reach(
        address=listen, port=port or server.free_port(listen, wanted.port), token=token, certificate=certificate,
        key=key, names=names, plain_http=wanted.plain_http,
    )
    return reach.checked()


def _made_token(folder: Path) -> str:
    """That of the data folder, made where there is none."""
    file = folder / _TOKEN
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(24) + "\n")
    return credential("page", file)


def labels(data: DataDir = None, config_file: ConfigFile = None) -> None:
    """Write labelled twitches as JSON lines, for benchmarks."""
    for line in labelled_lines(readable(config_file, data)):
        say(line.rstrip("\n"))
