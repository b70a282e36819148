"""A WebSocket backend that sends every message back: ws_origin.py HOST PORT"""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you wish")
            return
        await connection.send(message)


async def main():
    async with serve(echo, sys.argv[1], int(sys.argv[2]), max_size=None, subprotocols=["echo"]) as server:
        print("ready", flush=True)
        await server.serve_forever()


asyncio.run(main())
