# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Visitors who are sent new quotes, as a browser is: each comes again after its last event when its stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from visitors import PORT

# Seconds: three signs of life of the website's stay out.
SILENCE = 50.0
RETRY = 1.0


@dataclass
class Watcher:
    """``prices`` of the symbol, as they came; ``outages`` in seconds, each until the next stream stood."""

    symbol: str
    prices: list[int] = field(default_factory=list)
    last: str = ""
    live: bool = False
    outages: list[float] = field(default_factory=list)
    resets: int = 0
    problems: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        retry, cut = RETRY, 0.0
        while True:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", PORT), 10)
                try:
                    async for name, value in self._fields(reader, writer):
                        if not self.live:
                            self.live = True
                            if cut:
                                self.outages.append(time.monotonic() - cut)
                        if name == "retry":
                            retry = int(value) / 1000
                finally:
                    writer.close()
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.problems.append(f"{time.strftime('%T')} {type(error).__name__}: {error}")
            if self.live:
                self.live, cut = False, time.monotonic()
            await asyncio.sleep(retry)

    async def _fields(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        """Fields of events, once the stream tells where it is: only then it stands."""
        lines = [f"GET /events HTTP/1.1\r\nHost: website.localhost:{PORT}\r\nAccept: text/event-stream\r\n"]
        if self.last:
            lines.append(f"Last-Event-ID: {self.last}\r\n")
        writer.write(("".join(lines) + "\r\n").encode())
        status = (await asyncio.wait_for(reader.readline(), 15)).split()
        if status[1:2] != [b"200"]:
            raise ValueError(f"status {status}")
        while (await asyncio.wait_for(reader.readline(), 15)).strip():
            pass
        event: dict[str, str] = {}
        ended = False
        while not ended:
            size = int((await asyncio.wait_for(reader.readline(), SILENCE)).strip() or b"0", 16)
            part = await asyncio.wait_for(reader.readexactly(size + 2), SILENCE)
            ended = size == 0
            for line in part[:-2].decode().split("\n"):
                name, _colon, value = line.partition(": ")
                if line:
                    event[name] = value
                    continue
                if event:
                    self._take(event)
                    if "retry" in event:
                        yield "retry", event["retry"]
                    if set(event) - {"retry"}:
                        yield "sign of life", ""
                event = {}

    def _take(self, event: dict[str, str]) -> None:
        self.last = event.get("id", self.last)
        if event.get("event") == "reset":
            self.resets += 1
        if event.get("event") == "quote":
            quote = json.loads(event["data"])
            if quote["symbol"] == self.symbol:
                self.prices.append(int(float(quote["price"])))


@contextlib.contextmanager
def watching(count: int, symbol: str) -> Iterator[list[Watcher]]:
    """Have visitors watch, in a thread; they are live when it begins."""
    watchers = [Watcher(symbol) for _ in range(count)]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> list[asyncio.Task[None]]:
        tasks = []
        for watcher in watchers:
            tasks.append(asyncio.ensure_future(watcher.watch()))
            # As people come, and not all in a moment.
            await asyncio.sleep(0.005)
        return tasks

    tasks = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
    try:
        yield watchers
    finally:

        async def end() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
