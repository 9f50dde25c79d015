"""An event loop whose time is not ours: where all wait, the clock jumps to the next thing that is due.

So an hour of a session takes as long as its work. All that runs is the real code; what is replaced is the clock:
`loop.time`, `time.monotonic_ns`, and with them every timeout. A thread (the store's) runs in real time, and the
clock stands still while the loop waits for it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from concurrent.futures import Executor, Future
from typing import Any

from monitor.clock import Reading

_UTC_NS = 1_790_000_000_000_000_000


class _Selector(selectors.DefaultSelector):
    """Waits for no timer: it moves the clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.working or timeout is None:
            return super().select(0.05)
        self.loop.now_ns += max(round(timeout * 1e9), 1)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 1000 s."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.working = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_ns * 1e-9

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> asyncio.Future[Any]:
        self.working += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: Future[Any]) -> None:
        self.working -= 1

    def reading(self) -> Reading:
        """The clocks of the computer, as `HostClock` reads them."""
        return Reading(self.now_ns, self.now_ns, _UTC_NS + self.now_ns)


def run(monkeypatch: Any, scenario: Any) -> None:
    """Run `scenario(loop)` in virtual time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        monkeypatch.setattr(time, "monotonic_ns", lambda: loop.now_ns)
        await scenario(loop)

    with asyncio.Runner(loop_factory=VirtualLoop, debug=False) as runner:
        coroutine: Coroutine[Any, Any, None] = main()
        runner.run(coroutine)
