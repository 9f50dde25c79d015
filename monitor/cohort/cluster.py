"""Who does it: Dask distributed, on this computer or where a scheduler is.

Rules:

* As many tasks are with the scheduler as keep its workers busy, so its memory does not grow with the cohort.
* A worker that dies is started anew, and its task given to another; one that kills three workers is given up.
* What is asked for is looked at before Dask sees it, whose clients leave tracebacks behind, and whose workers
  are started anew for ever where they cannot live.
* Each worker has one thread and one core: the detector is numpy in small pieces, and threads would wait for
  each other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from firmware_interface.errors import Fault

TOPIC = "fasciwatch"
_AHEAD = 2
"""Tasks a worker that wait with the scheduler."""

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}")
_WORKER_S = 30
"""How long a scheduler may be without a worker."""
_LEAST_MB = 400
"""Of a worker, which is stopped at .8 of its limit: it takes about 250 MB (docs/scale.md)."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class ClusterError(Fault):
    """There are no workers, or they are gone."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What a task became whose worker died again and again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Workers:
    """What is asked for."""

    scheduler: str | None = None
    """Address; `None` for workers on this computer."""
    number: int | None = None
    """Here; `None` for as many as there are cores."""
    memory: str = "2GB"
    """A worker's limit, here."""


@contextmanager
def joined(workers: Workers) -> Iterator[Any]:
    """A client of the cluster, for as long as it takes.

    Raises:
        ClusterError: Dask is not installed, no scheduler answers or it has no worker, or a worker could not live.
    """
    try:
        from dask.utils import parse_bytes  # noqa: PLC0415 - as below
        from distributed import Client, LocalCluster, Security  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        raise ClusterError("Dask is not installed", "Run: pip install 'fasciwatch[cohort]'") from None
    for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it, we say
    if workers.scheduler is not None:
        address = _ADDRESS.fullmatch(workers.scheduler)
        if address is None:
            raise ClusterError(
                f"{workers.scheduler!r} is no address of a scheduler", "Write it as tcp://host:8786"
            )
        if address[1] == "tls" and Security().get_connection_args("client").get("ssl_context") is None:
            raise ClusterError(
                "TLS without certificates", "Name them in Dask's configuration: distributed.comm.tls"
            )
        try:
            with Client(workers.scheduler, timeout="10s", set_as_default=False) as client:
                _await_worker(client, workers.scheduler)
                yield client
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no scheduler answers at {workers.scheduler}", "Start one: dask scheduler, and dask worker"
            ) from error
        return
    try:
        memory = parse_bytes(workers.memory)
    except ValueError:
        raise ClusterError(f"{workers.memory!r} is no amount of memory", "Write it as 2GB or 800MB") from None
    if memory < _LEAST_MB * 10**6:
        raise ClusterError(
            f"a worker takes about 250 MB, and is stopped before it has all of {workers.memory}",
            f"Give it at least --memory {_LEAST_MB}MB, and fewer --workers if need be",
        )
    with (
        LocalCluster(
            n_workers=workers.number,
            threads_per_worker=1,
            memory_limit=memory,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _await_worker(client: Any, scheduler: str) -> None:  # noqa: ANN401 - distributed has no types
    try:
        client.wait_for_workers(1, timeout=_WORKER_S)
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler at {scheduler} has no worker", f"Start one: dask worker {scheduler}"
        ) from error


def dashboard(client: Any) -> str:  # noqa: ANN401
    """Where a browser can follow it; empty where there is none."""
    return str(client.dashboard_link or "")


def follow(client: Any, told: Callable[[str, float], None]) -> None:  # noqa: ANN401
    """Have what tasks tell by `tell` told here."""
    client.subscribe_topic(TOPIC, lambda event: told(*event[1]))


def tell(name: str, share: float) -> None:
    """From a task: how far it has come."""
    from distributed import get_worker  # noqa: PLC0415 - as above

    get_worker().log_event(TOPIC, (name, share))


def spread(
    client: Any,  # noqa: ANN401
    task: Callable[..., Result],
    jobs: Iterable[Job],
    shared: Sequence[object] = (),
) -> Iterator[tuple[Job, Result | Lost]]:
    """Each job with what the task made of it, in the order in which they end.

    Raises:
        ClusterError: the scheduler is gone.
    """
    from distributed import as_completed  # noqa: PLC0415 - as above

    waiting = iter(jobs)
    cores = max(sum(client.ncores().values()), 1)
    running: dict[Any, Job] = {}
    ended = as_completed([], loop=client.loop)

    def submit() -> None:
        for job in waiting:
            future = client.submit(task, job, *shared, pure=False)
            running[future.key] = job
            ended.add(future)
            return

    for _ in range((1 + _AHEAD) * cores):
        submit()
    for future in ended:
        job = running.pop(future.key)
        yield job, _result(future)
        future.release()
        submit()


def _result(future: Any) -> Any:  # noqa: ANN401
    if future.status == "finished":
        return future.result()
    if future.status in ("cancelled", "lost"):
        raise ClusterError("the scheduler is gone", "Run the same again: what is done stays done")
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return Lost("the workers that had it died, most likely for want of memory")
    return Lost(" ".join(f"{type(error).__name__}: {error}".split())[:200])
