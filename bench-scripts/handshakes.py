"""Makes TLS 1.3 connections and closes them, for some seconds: handshakes.py PORT SECONDS PROCESSES full|resumed"""

import json
import socket
import ssl
import sys
import time
from multiprocessing import Pool

from clients import ANSWER_SECONDS, tls_context

#: A request whose answer brings the ticket for later handshakes along.
REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def first_ticket(context: ssl.SSLContext, port: int) -> ssl.SSLSession:
    """What a later connection can resume."""
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)) as connection:
        connection.sendall(REQUEST)
        while connection.recv(1 << 16):
            pass
        return connection.session


def shake_hands(work: tuple[int, int, bool]) -> dict:
    """One process's share: the time of each handshake, and what went wrong."""
    port, seconds, resumed = work
    context, session = tls_context(), None
    times, failed, not_resumed = [], 0, 0
    end = time.monotonic() + seconds
    if resumed:
        session = first_ticket(context, port)
    while time.monotonic() < end:
        begin = time.perf_counter_ns()
        try:
            with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as plain:
                with context.wrap_socket(plain, session=session) as connection:
                    not_resumed += connection.session_reused != resumed
        except OSError:
            failed += 1
        times.append((time.perf_counter_ns() - begin) // 1000)
    return {"times": times, "failed": failed, "not_resumed": not_resumed}


def main() -> None:
    """Prints the sum of all processes."""
    port, seconds, processes = map(int, sys.argv[1:4])
    resumed = sys.argv[4] == "resumed"
    begin = time.monotonic()
    with Pool(processes) as pool:
        shares = pool.map(shake_hands, [(port, seconds, resumed)] * processes)
    times = sorted(elapsed for share in shares for elapsed in share["times"])
    figures = {
        "requests": len(times),
        "bytes": 0,
        "duration_us": int((time.monotonic() - begin) * 1e6),
        **{name: times[int(len(times) * part)] for name, part in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))},
        # A handshake that should have been resumed and was not counts as a wrong answer.
        "errors": {"status": sum(share["not_resumed"] for share in shares),
                   "connect": sum(share["failed"] for share in shares), "read": 0, "write": 0, "timeout": 0},
    }
    print("load-figures", json.dumps(figures))


if __name__ == "__main__":
    main()
