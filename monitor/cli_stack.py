"""The command `fasciwatch stack init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor import config, lines
from monitor.stack import INFLUXDB_URL, configuration, docker_trouble, initialised
from monitor.terminal import ConfigFile, Json, note, say

_FOLDER = "stack"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _stack() -> None:
    """So that `init` is named, although it is the only one."""


@app.command()
def init(
    folder: Annotated[Path | None, typer.Argument(help="Where; else beside the data.", show_default=False)] = None,
    config_file: ConfigFile = None,
    json_lines: Json = False,
) -> None:
    """Make secrets and files for InfluxDB, Grafana and a broker in docker."""
    settings = config.load(config_file if config_file is None or config_file.exists() else None)
    chosen = (folder or settings.data_dir / _FOLDER).absolute()
    made = initialised(chosen)
    configured = _configured(config_file or config.default_path(), chosen, settings)
    trouble = docker_trouble()
    if json_lines:
        fields: lines.Fields = {"type": "stack", "folder": str(chosen), "made": made, "docker": trouble is None}
        say(lines.as_json(fields | {"configured": configured}))
    else:
        for name in made:
            say(f"made {chosen / name}")
        if not made:
            say(f"{chosen}: nothing to do")
    if not configured:
        note(f"for your configuration, {config_file or config.default_path()}:\n\n{configuration(chosen)}")
    if trouble:
        note(f"fasciwatch: {trouble}")
    note(f"next: docker compose --project-directory {chosen} up --detach --wait")
    note(f"then: http://localhost:3000, as admin, with the password in {chosen / 'secrets/grafana_password'}")


def _configured(path: Path, folder: Path, settings: config.Settings) -> bool:
    """Whether what is stored goes to the stack; a configuration is written only where there is none."""
    if any(server.url == INFLUXDB_URL for server in settings.influxdb):
        return True
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(configuration(folder), encoding="utf-8")
    return True
