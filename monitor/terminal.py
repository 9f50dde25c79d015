"""What every command shares: options, where the data is, and how it prints.

Rules: standard output is for data, standard error for words. Whoever reads may leave at any time.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from firmware_interface.errors import Fault
from monitor import config, study
from monitor.diary import DIARY
from monitor.live import READER_LEFT, hang_up
from monitor.store import DATABASE

_DEMO = "demo"
_WIDE = 400
"""Characters of a line where no terminal says how many: nothing is cut for a program."""
_UNITS_NS = {"s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file (TOML).")]
Since = Annotated[str, typer.Option(help="How far back: 90s, 30min, 12h, 7d, or all.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Data folder, instead of the configured one.")]
TimeZone = Annotated[str, typer.Option("--timezone", help="Of the person: Europe/Berlin; else this computer's.")]


def readable(config_file: Path | None, data: Path | None) -> Path:
    """The data folder to read: as told, or as configured, or the demo's where nothing real was ever stored."""
    if data is not None:
        return data
    folder = config.load(config_file).data_dir
    demo = demo_folder()
    if not any((folder / name).exists() for name in (DATABASE, DIARY)) and (demo / DATABASE).exists():
        note(f"nothing was recorded yet in {folder}; this is the demo's data")
        return demo
    return folder


def revealed(config_file: Path | None, data: Path | None) -> Path:
    """The same, unless its person is not to know what was counted."""
    return study.reveal(readable(config_file, data))


def demo_folder() -> Path:
    """Not the configured one: whoever tries the demo has configured nothing, or has real data there."""
    return config.Settings().data_dir / _DEMO


def since_ns(since: str, now_ns: int) -> int:
    """The time that `since` ("12h") says, ns UTC."""
    if since == "all":
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", since)
    if not match:
        raise typer.BadParameter(f"{since!r} is no duration: use 90s, 30min, 12h, 7d or all", param_hint="--since")
    return max(now_ns - round(float(match[1]) * _UNITS_NS[match[2]]), 0)


def zone(name: str) -> tzinfo | None:
    """The clock of a place; this computer's where none is named."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(
            f"{name!r} is no time zone: use a name like Europe/Berlin", param_hint="--timezone"
        ) from None


def say(text: str) -> None:
    with open_ended(sys.stdout):
        print(text)  # noqa: T201


def note(text: str) -> None:
    with open_ended(sys.stderr):
        print(text, file=sys.stderr)  # noqa: T201


@contextmanager
def open_ended(file: TextIO) -> Iterator[None]:
    """Whoever reads `file` may leave: `fasciwatch events | head`, a terminal that was closed. We go on quietly."""
    try:
        yield
    except OSError as error:
        hang_up(file)
        if error.errno not in READER_LEFT:
            raise Fault(f"the output cannot be written: {error.strerror}", "Send it elsewhere") from error


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    terminal = sys.stdout.isatty()
    written = io.StringIO()  # rich has ideas of its own about a closed pipe
    Console(file=written, force_terminal=terminal, width=None if terminal else _WIDE).print(table)
    say("\n".join(line.rstrip() for line in written.getvalue().splitlines()))


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar with an estimate on standard error, where that is a terminal; it is told how far things have come."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total or None)
        yield lambda done: bar.update(task, completed=min(done, total))
