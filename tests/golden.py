"""Values that other projects' tests give for bytes, kept outside this repository: facts, but not ours to copy."""

import json
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "shared" / "reference" / "golden_vectors.json"


def golden(name):
    """The vector of this name; skips the test where there are none."""
    if not _FILE.exists():
        pytest.skip("no golden vectors of other projects in ../shared/reference")
    return json.loads(_FILE.read_text(encoding="utf-8"))[name]
