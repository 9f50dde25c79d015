"""The commands `fasciwatch page` and `fasciwatch labels`, and the page beside `run` and `demo`.

Rule: what draws the page takes seconds to import; it is imported in the process of the page, and nowhere else.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.credentials import credential
from monitor.labelled import labelled_lines
from monitor.page.place import free_port, is_loopback
from monitor.study import part_in
from monitor.terminal import ConfigFile, DataDir, note, revealed, say

if TYPE_CHECKING:
    from monitor.page.server import Reach

_PROGRAM = (sys.executable, "-c", "from monitor.cli import main; main()")
_TOKEN = "page.token"  # noqa: S105 - a file
_LOG = "page.log"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - with a token and TLS only
_LEAVE_S = 5.0

Wanted = Annotated[
    bool | None, typer.Option("--page/--no-page", help="The page in a browser; by default in a terminal.")
]


def page(
    address: Annotated[str, typer.Option(help="Where to listen, instead of page.address.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: page.port, or the next that is free.")] = 0,
    phone: Annotated[bool, typer.Option("--phone", help="For your network: token, TLS and a QR link.")] = False,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="In a browser, on a desktop.")] = True,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Show it all in a browser: signal, diary, history, answers."""
    settings = config.load(config_file)
    folder = revealed(config_file, data)
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(folder / "page"))  # for what we never have it keep
    from monitor.page.server import serve  # noqa: PLC0415

    told = partial(print, flush=True) if child else note  # to whom started us
    reach = _reach(settings.page, folder, address, port, phone=phone)
    serve(folder, settings, config_file, reach, opened=browser, until_left=child, say=told)


def labels(config_file: ConfigFile = None, data: DataDir = None) -> None:
    """Write labelled twitches as JSON lines, for benchmarks."""
    for line in labelled_lines(revealed(config_file, data)):
        say(line.rstrip("\n"))


@contextmanager
def beside(
    folder: Path, settings: config.Settings, config_file: Path | None, *, wanted: bool | None
) -> Iterator[None]:
    """The page as long as the block lasts, in a process of its own.

    Args:
        folder: the data folder.
        settings: the configuration.
        config_file: where it came from.
        wanted: `None`: where there is a terminal. Never where a study hides what is counted.
    """
    study = part_in(folder)
    if not (sys.stdout.isatty() if wanted is None else wanted) or (study and study.counts_hidden):
        yield
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port(settings.page.address, settings.page.port)
    command = [*_PROGRAM, "page", "--child", "--data", str(folder), "--port", str(port)]
    command += ["--config", str(config_file.absolute())] if config_file else []
    descriptor = os.open(folder / _LOG, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    # Ctrl-C is for us: we end it, after what we collect is safe. It ends by itself where we are killed.
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=descriptor,
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    os.close(descriptor)
    relay = Thread(target=_relay, args=(process,), name="page", daemon=True)
    relay.start()
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        relay.join(_LEAVE_S)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        if process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
            note(f"the page ended by itself; {folder / _LOG} says why")


def _relay(process: subprocess.Popen[str]) -> None:
    """Pass on what the page says: where it is, once it answers there."""
    for line in process.stdout or ():
        note(line.rstrip("\n"))


def _reach(wanted: config.Page, folder: Path, address: str, port: int, *, phone: bool) -> Reach:
    """Where the page is served, and what secures it."""
    from monitor.page.certificate import made  # noqa: PLC0415
    from monitor.page.server import Reach  # noqa: PLC0415

    listen = address or wanted.address
    token, certificate, key = credential("page", wanted.token_file), wanted.certificate, wanted.key
    if phone:
        listen = _EVERYWHERE if is_loopback(listen) else listen
        token = token or _own_token(folder)
        if certificate is None:
            certificate, key = made(folder, Reach(listen, 0, names=wanted.names).all_names)
    reach = Reach(listen, port or wanted.port, token, certificate, key, wanted.names, wanted.plain_http).checked()
    return reach if port else reach.moved(free_port(listen, wanted.port))


def _own_token(folder: Path) -> str:
    """That of the data folder, made where there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / _TOKEN
    with (
        suppress(FileExistsError),
        os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new,
    ):
        new.write(secrets.token_urlsafe(24) + "\n")
    return credential("page", file)
