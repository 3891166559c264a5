"""A web server that looks around once a second: uvicorn does ten times, which is most of what an idle one takes."""

from __future__ import annotations

import asyncio
import contextlib
from types import FrameType
from typing import Final

import uvicorn

_TICK_S: Final = 1.0
_TICKS: Final = 10  # of uvicorn's in one of ours: by their count it renews the date that it sends
_ROUND: Final = 864_000  # as uvicorn counts


class SlowTickingServer(uvicorn.Server):
    """Serves as uvicorn does, and ends as soon when a signal asks it to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_end = asyncio.Event()

    async def main_loop(self) -> None:
        """Tick until the end is asked for."""
        self._loop = asyncio.get_running_loop()
        count = 0
        while not await self.on_tick(count):
            count = (count + _TICKS) % _ROUND
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked_to_end.wait(), _TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Wake the loop, which may sleep."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked_to_end.set)
