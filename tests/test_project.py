"""The project around the code: versions, licence, locks, targets."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from firmware_interface.codecs import open_profile
from monitor import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = {"run", "test", "test-bluez", "check", "lock", "clean", "help"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def locked() -> dict[str, str]:
    lines = [line for line in text("constraints.txt").splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def asked() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    return [Requirement(r) for r in project["dependencies"] + extras + PROJECT["dependency-groups"]["dev"]]


def test_locks_are_names_and_versions() -> None:
    """So that any index or mirror will do: no URL, no hash, no option."""
    for line in text("constraints.txt").splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


def test_all_that_is_asked_for_is_locked_within_its_range() -> None:
    """`make lock` was run after the last change of a range."""
    versions = {canonicalize_name(name): version for name, version in locked().items()}
    for requirement in asked():
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name}: run `make lock`"
        assert requirement.specifier.contains(versions[name]), f"{requirement}, but {versions[name]} is locked"


def test_wheel_asks_for_ranges() -> None:
    """Who installs us beside other packages chooses the versions."""
    assert not [r for r in asked() if any(s.operator in ("==", "===") for s in r.specifier)]


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "pyproject.toml", ".ci/run"])
def test_no_address_is_built_in(name: str) -> None:
    """No registry, no mirror, no path of someone's machine."""
    assert "://" not in text(name)
    assert not re.search(r"(?<![\w.$/}])/(home|root|work|tmp|Users)/", text(name))


def test_versions_agree() -> None:
    """Package, changelog, tools and open profile."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert released[:1] in ([], [__version__])
    assert "## [Unreleased]" in text("CHANGELOG.md")
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["tool"]["ruff"]["target-version"] == "py311"
    assert "sys.version_info < (3, 11)" in text("Makefile")
    assert text("docs/open-profile.md").startswith(f"# The open profile, version {open_profile.VERSION}\n")


def test_licence_is_there() -> None:
    """And is the one that the package names."""
    assert PROJECT["project"]["license"] == "MIT"
    assert text("LICENSE").startswith("MIT License\n\nCopyright (c) 2026 fasciwatch contributors\n")
    assert PROJECT["project"]["license-files"] == ["LICENSE"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_make_targets_in_documents_exist(name: str) -> None:
    """What we tell people to type works."""
    named = set(re.findall(r"(?:`|^|^\s+|\$ )make ([a-z-]+)", text(name), re.MULTILINE))
    assert named, f"{name} names no target"
    assert named <= TARGETS


def test_targets_are_those_of_the_makefile() -> None:
    """Each is phony, has a rule, and says what it does."""
    makefile = text("Makefile")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == TARGETS


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_second_set_up_does_nothing(tmp_path: Path) -> None:
    """With a fresh stamp no target installs anything; with a newer lock all do."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", "run", "dev"):
        (tmp_path / ".venv" / name).touch()
    plan = ["make", "--dry-run", "run", "test", "check"]

    def installs() -> bool:
        environment = {"PATH": os.environ["PATH"]}  # not the flags of a make above us
        done = subprocess.run(plan, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return "pip" in done.stdout

    assert not installs()
    stamp = (tmp_path / ".venv/dev").stat().st_mtime
    os.utime(tmp_path / "constraints.txt", (stamp + 10, stamp + 10))
    assert installs()


def test_ci_is_a_program() -> None:
    """Executable, and bash can read it."""
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_every_proof_of_a_guarantee_exists() -> None:
    """A test that is named in the document, in the file that is named."""
    file, proofs = "", 0
    for name, test in re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", text("docs/guarantees.md")):
        file = name or file
        assert (ROOT / "tests" / file).is_file(), file
        assert not test or f"def {test}(" in text(f"tests/{file}"), f"{file}::{test}"
        proofs += bool(test)
    assert proofs > 15
