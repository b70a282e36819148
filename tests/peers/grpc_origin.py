"""A gRPC backend, with messages of plain bytes and the health service: grpc_origin.py ADDRESS [CERT KEY]

With a certificate it speaks TLS. Reads lines of `SERVICE STATUS` and sets the health of a service to that (`-` is the empty name)."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def unary(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-initial", sent.get("x-sent", ""))])
    context.set_trailing_metadata([("x-trailing", "after"), ("x-bytes-bin", b"\x00\xff")])
    return request


def collect(requests, _):
    return b"|".join(requests)


def repeat(request, _):
    for number in range(int(request)):
        yield b"message %d" % number


def echo(requests, context):
    for request in requests:
        yield request
    context.set_trailing_metadata([("x-trailing", "after")])


def fail(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ä")


def sleep(request, context):
    # `cancelled` is asked for afterwards.
    context.add_callback(lambda: CANCELLED.append(request))
    time.sleep(float(request))
    return b"slept"


def cancelled(request, _):
    return str(len(CANCELLED)).encode()


CANCELLED = []
METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Cancelled": grpc.unary_unary_rpc_method_handler(cancelled),
}

server = grpc.server(ThreadPoolExecutor(64))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Peer", METHODS)])
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
address, *pair = sys.argv[1:]
if pair:
    cert, key = (Path(name).read_bytes() for name in pair)
    server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
else:
    server.add_insecure_port(address)
server.start()
print("ready", flush=True)
for line in sys.stdin:
    service, status = line.split()
    servicer.set("" if service == "-" else service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    print("set", flush=True)
