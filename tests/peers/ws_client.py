"""A WebSocket client of an echoing backend: ws_client.py HOST:PORT [CA]. Exits with 0 if everything came out as
it should. With the file of an authority it speaks TLS, and believes nobody else."""

import asyncio
import ssl
import sys
from functools import partial

from websockets.asyncio import client
from websockets.exceptions import ConnectionClosed


def connecting(address, authority=None):
    if authority is None:
        return partial(client.connect, f"ws://{address}/chat")
    return partial(client.connect, f"wss://{address}/chat", ssl=ssl.create_default_context(cafile=authority))


async def main():
    connect = connecting(*sys.argv[1:])
    async with connect(max_size=None, subprotocols=["echo"]) as connection:
        assert connection.subprotocol == "echo", connection.subprotocol
        for message in ["hello", "", b"\x00\xff", "ä" * 100_000, bytes(range(256)) * 20_000]:
            await connection.send(message)
            assert await connection.recv() == message
        await asyncio.wait_for(await connection.ping(b"are you there"), 60)
        await connection.send("close")
        try:
            await connection.recv()
            raise AssertionError("it was not closed")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish"), closed
    connections = [connect(subprotocols=["echo"]) for _ in range(50)]
    connections = [await connection for connection in connections]
    for number, connection in enumerate(connections):
        await connection.send(str(number))
    for number, connection in enumerate(connections):
        assert await connection.recv() == str(number)
        await connection.close()


asyncio.run(main())
