"""Folders here and buckets elsewhere, through fsspec; S3 through obstore, which needs no other library.

Rules:

* A file is there whole or not at all: here it is renamed into place, an object appears when it was sent.
* What is read as a recording is a file on this computer: one that is elsewhere is fetched for as long as it
  takes.
* Keys and addresses of a bucket come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...), never
  from us.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from firmware_interface.errors import Fault


class StorageError(Fault):
    """A folder or bucket cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a place."""

    name: str
    """From the place on, with slashes."""
    size: int
    version: str
    """Another one where its content may be."""


@lru_cache(maxsize=8)
def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        import fsspec  # noqa: PLC0415 - an extra
    except ImportError:
        raise StorageError("fsspec is not installed", "Run: pip install 'fasciwatch[cohort]'") from None
    if url.startswith(("s3://", "s3a://", "gs://", "az://")):
        from obstore.fsspec import register  # noqa: PLC0415 - an extra

        register(url.partition(":")[0])
    try:
        system, _, (root,) = fsspec.get_fs_token_paths(url)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{url}: {error}", "Name a folder or a URL like s3://bucket/folder") from error
    return system, root.rstrip("/")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, here or elsewhere; it can be sent to a worker."""

    url: str

    @classmethod
    def named(cls, text: str) -> Place:
        """What a person calls it; a worker may stand in another folder.

        Raises:
            StorageError: it is empty.
        """
        if not text.strip():
            raise StorageError("a place without a name", "Name a folder or a URL like s3://bucket/folder")
        return cls(text if "://" in text else str(Path(text).absolute()))

    @property
    def is_here(self) -> bool:
        return "://" not in self.url

    def files(self, below: str = "") -> list[Stored]:
        """Every file, in the order of names.

        Raises:
            StorageError: the place is not there, or may not be read.
        """
        with self._explained():
            system, root = _opened(self.url)
            system.invalidate_cache()
            start = f"{root}/{below}".rstrip("/")
            if self.is_here and not Path(root).is_dir():
                raise FileNotFoundError(2, "no such folder")
            found = system.find(start, detail=True)
        prefix = f"{root}/"
        rows = [
            Stored(path.removeprefix(prefix), int(info["size"]), str(info.get("e_tag") or info.get("mtime")))
            for path, info in found.items()
            if path.startswith(prefix) and info["type"] == "file" and not path.endswith(".part")
        ]
        return sorted(rows, key=lambda stored: stored.name)

    def read(self, name: str) -> bytes | None:
        """A small file; `None` where there is none."""
        with self._explained():
            system, root = _opened(self.url)
            try:
                return bytes(system.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

    @contextmanager
    def new(self, name: str) -> Iterator[IO[bytes]]:
        """A small file, there once it is whole."""
        buffer = BytesIO()
        yield buffer
        with self._explained():
            system, root = _opened(self.url)
            if self.is_here:
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(path.name + ".part")
                try:
                    part.write_bytes(buffer.getbuffer())
                    part.replace(path)
                except OSError:
                    part.unlink(missing_ok=True)
                    raise
            else:
                system.pipe_file(f"{root}/{name}", buffer.getvalue())

    def remove(self, names: list[str]) -> None:
        """Remove files; those that are gone already are no error."""
        with self._explained():
            system, root = _opened(self.url)
            for name in names:
                try:
                    system.rm_file(f"{root}/{name}")
                except FileNotFoundError:
                    continue

    @contextmanager
    def here(self, names: tuple[str, ...], top: str) -> Iterator[Path]:
        """Where `top`, a file or the folder of these files, is on this computer, for as long as it takes."""
        if self.is_here:
            yield Path(_opened(self.url)[1]) / top
            return
        with tempfile.TemporaryDirectory(prefix="fasciwatch-") as folder:
            with self._explained():
                system, root = _opened(self.url)
                for name in names:
                    target = Path(folder) / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    system.get_file(f"{root}/{name}", str(target))
            yield Path(folder) / top

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Fault:
            raise
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            remedy = "Check its name" if missing else "Check the place and its room, and run again: it goes on"
            raise StorageError(f"{self.url}: {error.strerror or error}", remedy) from error
        except Exception as error:
            if not type(error).__module__.startswith("obstore"):
                raise
            told = str(error).split("<?xml")[0].split("Debug source")[0]
            raise StorageError(
                f"{self.url}: {' '.join(told.split())[:200]}", "Check its name, keys and address, and run again"
            ) from error
