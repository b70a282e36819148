"""Asks a proxy for one URL on many connections at once, is the backend, too, and prints what came when. The answer
comes in pieces, so that it shows who has to wait for its end. Arguments: port of the proxy, port of the backend,
connections, URLs that are asked for one after the other."""

import json
import select
import socket
import sys
import time

#: What the backend takes for the head: all requests are there by then.
HEAD_SECONDS = 0.5
PIECES, PIECE = 8, b"palantir collapse\n" * 128
PIECE_SECONDS = 0.05
#: Beyond this, whoever has no answer has failed.
LONGEST_SECONDS = 15.0
HEAD = (f"HTTP/1.1 200 OK\r\nContent-Length: {PIECES * len(PIECE)}\r\nContent-Type: text/plain\r\n"
        "Cache-Control: max-age=3600\r\n\r\n").encode()


class Client:
    """One connection to the proxy, and its answer so far."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_SECONDS)
        self.socket.setblocking(False)
        self.begin()

    def begin(self) -> None:
        """Nothing has come yet."""
        self.received = bytearray()
        self.first = self.last = 0.0
        self.has_ended = False

    def read(self, now: float) -> None:
        """Takes what has come."""
        try:
            piece = self.socket.recv(1 << 16)
        except OSError:
            piece = b""
        self.first = self.first or now
        self.received += piece
        self.last = now
        self.has_ended = not piece or self.is_right()

    def is_right(self) -> bool:
        """Whether the whole answer is there, and nothing else."""
        head, blank, body = self.received.partition(b"\r\n\r\n")
        return bool(blank) and b" 200 " in head[:16] and body == PIECE * PIECES


class Backend:
    """The connections of the proxy, each with the pieces that are due on it."""

    def __init__(self, port: int, polled: select.epoll):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.polled = polled
        polled.register(self.listener, select.EPOLLIN)
        self.open: dict[int, socket.socket] = {}
        self.asked: dict[int, bytes] = {}
        self.due: list[tuple[float, int, bytes]] = []
        self.requests = 0
        self.last_sent = 0.0

    def take(self, number: int, now: float) -> bool:
        """Whether the event was the backend's; does what it asks for."""
        if number == self.listener.fileno():
            connection, _ = self.listener.accept()
            self.open[connection.fileno()] = connection
            self.asked[connection.fileno()] = b""
            self.polled.register(connection, select.EPOLLIN)
        elif number in self.open:
            self.read(number, now)
        else:
            return False
        return True

    def read(self, number: int, now: float) -> None:
        """Counts the requests that have come and notes when their answers are due."""
        try:
            piece = self.open[number].recv(1 << 16)
        except OSError:
            piece = b""
        if not piece:
            self.polled.unregister(number)
            self.open.pop(number).close()
            return
        self.asked[number] += piece
        while b"\r\n\r\n" in self.asked[number]:
            self.asked[number] = self.asked[number].partition(b"\r\n\r\n")[2]
            self.requests += 1
            for piece in range(PIECES):
                self.due.append((now + HEAD_SECONDS + piece * PIECE_SECONDS, number, HEAD * (piece == 0) + PIECE))
            self.due.sort()

    def send(self, now: float) -> float:
        """Sends what is due, and returns the seconds until the next piece is."""
        while self.due and self.due[0][0] <= now:
            _, number, piece = self.due.pop(0)
            if number in self.open:
                self.open[number].sendall(piece)
                self.last_sent = time.monotonic()
        return max(self.due[0][0] - now, 0.0) if self.due else 0.1


def ask(clients: list[Client], backend: Backend, port: int, path: str) -> None:
    """Asks on all connections and reads until all have their answer."""
    by_number = {client.socket.fileno(): client for client in clients}
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    waiting, deadline = len(clients), time.monotonic() + LONGEST_SECONDS
    for client in clients:
        client.begin()
        backend.polled.register(client.socket, select.EPOLLIN)
        client.socket.send(request)
    while waiting and time.monotonic() < deadline:
        for number, _ in backend.polled.poll(backend.send(time.monotonic())):
            now = time.monotonic()
            if backend.take(number, now) or number not in by_number:
                continue
            client = by_number[number]
            client.read(now)
            if client.has_ended:
                waiting -= 1
                backend.polled.unregister(number)
    for client in clients:
        if not client.has_ended:
            backend.polled.unregister(client.socket)


def main() -> None:
    """Prints the figures of all URLs together: times in microseconds."""
    port, backend_port, connections, urls = map(int, sys.argv[1:5])
    backend = Backend(backend_port, select.epoll())
    failed, requests, first, last, begun = 0, 0, [], [], time.monotonic()
    for url in range(urls):
        # Connections of their own for each URL: who fails one is not to fail the next one by it.
        clients = [Client(port) for _ in range(connections)]
        before = backend.requests
        ask(clients, backend, port, f"/cached/collapse-{url}")
        requests = max(requests, backend.requests - before)
        right = [client for client in clients if client.is_right()]
        failed += connections - len(right)
        leader = min((client.first for client in right), default=0.0)
        first += [(client.first - leader) * 1e6 for client in right]
        last += [(client.last - backend.last_sent) * 1e6 for client in right]
        for client in clients:
            client.socket.close()
    first.sort()
    last.sort()
    print("load-figures", json.dumps({
        "requests": connections * urls, "failed": failed, "backend_requests": requests,
        "duration_us": (time.monotonic() - begun) * 1e6,
        **{f"{name}_{share}_us": times[int((len(times) - 1) * share / 100)] if times else 0.0
           for name, times in (("first", first), ("last", last)) for share in (50, 99, 100)}}))


if __name__ == "__main__":
    main()
