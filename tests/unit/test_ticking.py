"""The web server that looks around once a second."""

from __future__ import annotations

import asyncio
import signal

import uvicorn

from orchestratex.ticking import SlowTickingServer


class Counting(SlowTickingServer):
    """Notes what it was told at each look, and is asked to end at the first."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config(lambda: None))
        self.counts: list[int] = []

    async def on_tick(self, counter: int) -> bool:
        self.counts.append(counter)
        if counter == 0:
            asyncio.get_running_loop().call_soon(self.handle_exit, signal.SIGTERM, None)
        return await super().on_tick(counter)


def test_a_signal_ends_it_at_once_and_each_look_renews_the_date() -> None:
    server = Counting()

    async def run() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await server.main_loop()
        return loop.time() - begun

    assert asyncio.run(run()) < 1.0
    assert server.counts == [0, 10]
    assert b"date" in dict(server.server_state.default_headers)
