"""A gRPC client: grpc_client.py ADDRESS CASE [CA]. Exits with 0 if the case came out as it should. With the file of an
authority it speaks TLS, and believes nobody else."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

SECONDS = 60


def failure(call, code):
    """Whether a call fails with this code, and its error."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError("it did not fail")


def unary(peer):
    method = peer.unary_unary("/test.Peer/Unary")
    answer, call = method.with_call(b"hello", metadata=[("x-sent", "before")], timeout=SECONDS)
    assert answer == b"hello", answer
    assert ("x-initial", "before") in call.initial_metadata(), call.initial_metadata()
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-trailing"], trailing["x-bytes-bin"]) == ("after", b"\x00\xff"), trailing
    assert method(b"", timeout=SECONDS) == b""
    large = bytes(range(256)) * 12_000
    assert method(large, timeout=SECONDS) == large


def client_streaming(peer):
    messages = [b"a" * size for size in (0, 1, 100_000, 3)]
    answer = peer.stream_unary("/test.Peer/Collect")(iter(messages), timeout=SECONDS)
    assert answer == b"|".join(messages)


def server_streaming(peer):
    answers = list(peer.unary_stream("/test.Peer/Repeat")(b"2000", timeout=SECONDS))
    assert answers == [b"message %d" % number for number in range(2000)], len(answers)
    assert list(peer.unary_stream("/test.Peer/Repeat")(b"0", timeout=SECONDS)) == []


def bidirectional(peer):
    """Every message waits for the answer to the one before."""
    answered = []

    def messages():
        for number in range(100):
            yield b"%d" % number
            end = time.monotonic() + SECONDS
            while len(answered) <= number and time.monotonic() < end:
                time.sleep(0.0005)

    call = peer.stream_stream("/test.Peer/Echo")(messages(), timeout=2 * SECONDS)
    for answer in call:
        answered.append(answer)
    assert answered == [b"%d" % number for number in range(100)], answered
    assert dict(call.trailing_metadata())["x-trailing"] == "after"


def many(peer):
    method = peer.unary_unary("/test.Peer/Unary")
    with ThreadPoolExecutor(64) as pool:
        messages = [b"%d" % number * (number % 50) for number in range(640)]
        assert list(pool.map(lambda message: method(message, timeout=SECONDS), messages)) == messages


def error(peer):
    found = failure(lambda: peer.unary_unary("/test.Peer/Fail")(b"", timeout=SECONDS), grpc.StatusCode.NOT_FOUND)
    assert found.details() == "no such thing: ä", found
    failure(lambda: peer.unary_unary("/test.Peer/None")(b"", timeout=SECONDS), grpc.StatusCode.UNIMPLEMENTED)


def down(peer):
    failure(lambda: peer.unary_unary("/test.Peer/Unary")(b"", timeout=SECONDS), grpc.StatusCode.UNAVAILABLE)


def no_route(peer):
    failure(lambda: peer.unary_unary("/test.Peer/Unary")(b"", timeout=SECONDS), grpc.StatusCode.UNIMPLEMENTED)


def deadline(peer):
    sleep = peer.unary_unary("/test.Peer/Sleep")
    assert sleep(b"0.01", timeout=SECONDS) == b"slept"
    begin = time.monotonic()
    failure(lambda: sleep(b"30", timeout=1.5), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert time.monotonic() - begin < 15
    # The backend hears of it too.
    end = time.monotonic() + SECONDS
    while peer.unary_unary("/test.Peer/Cancelled")(b"", timeout=SECONDS) != b"2":
        assert time.monotonic() < end, "the backend goes on"
        time.sleep(0.05)


def cancel(peer):
    call = peer.stream_stream("/test.Peer/Echo")(iter([b"one"]), timeout=SECONDS)
    assert next(call) == b"one"
    call.cancel()
    unary(peer)


def connect(address, authority=None):
    if authority is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(authority).read_bytes()))


address, case, *authority = sys.argv[1:]
with connect(address, *authority) as channel:
    globals()[case](channel)
