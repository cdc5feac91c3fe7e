"""A server of gRPC for tests: messages are raw bytes, so no compiler of protocols is needed.

server.py [--tls CERTIFICATE KEY] [--health FILE]

Prints `port N`, and what happens to calls that are worth a line. FILE holds what the health service
says of a service, a line each: `NAME STATUS`, read anew for each check.
"""

import argparse
import sys
import threading
from concurrent import futures

import grpc

STATUSES = {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3}


def say(words):
    print(words, flush=True)


def metadata(context):
    return {key: value for key, value in context.invocation_metadata()}


def echo(request, context):
    given = metadata(context)
    there = [(key, given[key]) for key in ("x-there", "x-bytes-bin") if key in given]
    # Without a deadline it is some years.
    has_deadline = str(context.time_remaining() < 3600)
    context.send_initial_metadata([("x-deadline", has_deadline)] + there)
    context.set_trailing_metadata([("x-end", "over")])
    return request


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def join(requests, context):
    return b",".join(requests)


def chat(requests, context):
    for request in requests:
        yield b"you said " + request


def abort(request, context):
    name, words = request.decode().split(" ", 1)
    context.abort(getattr(grpc.StatusCode, name), words)


def late(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "nothing behind two")


def hold(request, context):
    """Sends a message and waits until nobody wants more."""
    done = threading.Event()
    context.add_callback(done.set)
    say("holds")
    yield b"one"
    done.wait()
    say("given up")


def silent(request, context):
    """Waits until nobody wants an answer."""
    done = threading.Event()
    context.add_callback(done.set)
    say("silent")
    done.wait()
    say("given up")
    return b""


def health(path):
    def check(request, context):
        # HealthCheckRequest: field 1 is the name of the service.
        name = request[2 : 2 + request[1]].decode() if request else ""
        say("checked " + repr(name) + " " + metadata(context).get("x-check", "-"))
        with open(path, encoding="utf-8") as lines:
            known = dict(line.rstrip("\n").rsplit(" ", 1) for line in lines)
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if known[name] in STATUSES:
            status = STATUSES[known[name]]
            # HealthCheckResponse: field 1 is the status, left out where it is 0.
            return bytes([8, status]) if status else b""
        if known[name] == "GARBAGE":
            return b"\xff\xff\xff"
        if known[name] == "SILENT":
            return silent(request, context)
        context.abort(getattr(grpc.StatusCode, known[name]), "as the file says")

    return check


def handlers(arguments):
    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Abort": grpc.unary_unary_rpc_method_handler(abort),
        "Late": grpc.unary_stream_rpc_method_handler(late),
        "Hold": grpc.unary_stream_rpc_method_handler(hold),
        "Silent": grpc.unary_unary_rpc_method_handler(silent),
    }
    yield grpc.method_handlers_generic_handler("test.Test", methods)
    if arguments.health:
        check = {"Check": grpc.unary_unary_rpc_method_handler(health(arguments.health))}
        yield grpc.method_handlers_generic_handler("grpc.health.v1.Health", check)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--health")
    parser.add_argument("--port", default="0")
    arguments = parser.parse_args()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
    server.add_generic_rpc_handlers(tuple(handlers(arguments)))
    address = "127.0.0.1:" + arguments.port
    if arguments.tls:
        certificate, key = (open(path, "rb").read() for path in arguments.tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    say(f"port {port}")
    server.wait_for_termination()


main()
sys.exit(0)
