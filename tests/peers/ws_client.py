"""A WebSocket client of an echoing backend: ws_client.py HOST:PORT. Exits with 0 if everything came out as it should."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main():
    async with connect(f"ws://{sys.argv[1]}/chat", max_size=None, subprotocols=["echo"]) as connection:
        assert connection.subprotocol == "echo", connection.subprotocol
        for message in ["hello", "", b"\x00\xff", "ä" * 100_000, bytes(range(256)) * 20_000]:
            await connection.send(message)
            assert await connection.recv() == message
        await asyncio.wait_for(await connection.ping(b"are you there"), 20)
        await connection.send("close")
        try:
            await connection.recv()
            raise AssertionError("it was not closed")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish"), closed
    connections = [connect(f"ws://{sys.argv[1]}/chat", subprotocols=["echo"]) for _ in range(50)]
    connections = [await connection for connection in connections]
    for number, connection in enumerate(connections):
        await connection.send(str(number))
    for number, connection in enumerate(connections):
        assert await connection.recv() == str(number)
        await connection.close()


asyncio.run(main())
