"""Write what Grafana provisions: `python -m dashboards.generate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from dashboards.alerts import SOURCE_UID, provisioned
from dashboards.boards import BOARDS
from dashboards.grafana import Json

FOLDER: Final = Path(__file__).parent
BUCKET: Final = "fasciwatch"
_BOARDS_IN_CONTAINER = "/etc/grafana/dashboards"


def files() -> dict[Path, str]:
    """Path below this folder -> what stands in it. YAML reads JSON, and so there is one writer for both."""
    made: dict[str, Json] = {
        "provisioning/datasources/fasciwatch.yaml": _sources(),
        "provisioning/dashboards/fasciwatch.yaml": _providers(),
        "provisioning/alerting/fasciwatch.yaml": provisioned(),
    }
    made |= {f"json/fasciwatch/{board.uid}.json": board.json() for board in BOARDS}
    return {Path(name): json.dumps(value, ensure_ascii=False, indent=2) + "\n" for name, value in made.items()}


def _sources() -> Json:
    """InfluxQL on InfluxDB 2, by a token that may only read; of Grafana's environment, not of this file."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "fasciwatch",
                "uid": SOURCE_UID,
                "type": "influxdb",
                "access": "proxy",
                "url": "$FASCIWATCH_INFLUXDB_URL",
                "isDefault": True,
                "editable": False,
                "jsonData": {"dbName": BUCKET, "httpMode": "POST", "httpHeaderName1": "Authorization"},
                "secureJsonData": {"httpHeaderValue1": "Token $GF_FASCIWATCH_TOKEN"},
            }
        ],
    }


def _providers() -> Json:
    """Folders in Grafana are those below the path."""
    where = {"path": _BOARDS_IN_CONTAINER, "foldersFromFilesStructure": True}
    provider = {"name": "fasciwatch", "type": "file", "allowUiUpdates": False, "options": where}
    return {"apiVersion": 1, "providers": [provider]}


def main() -> None:
    """Write those that differ."""
    for name, text in files().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
