"""A client of gRPC for tests, which prints what it got as JSON.

client.py ADDRESS SCENARIO [--ca FILE]

With --ca it speaks TLS and expects a certificate for a.test.
"""

import argparse
import json
import queue
import sys

import grpc

LIMIT = 20


def plain(pairs):
    texts = ((key, value if isinstance(value, str) else value.hex()) for key, value in pairs or ())
    return dict(texts)


def failure(error):
    return {
        "status": error.code().name,
        "words": error.details(),
        "head": plain(error.initial_metadata()),
        "trailers": plain(error.trailing_metadata()),
    }


def take(messages):
    """Messages until the end, and how it ended."""
    got = []
    try:
        for message in messages:
            got.append(message.decode())
            print("got", got[-1], file=sys.stderr, flush=True)
            if "--stop" in sys.argv:
                messages.cancel()
    except grpc.RpcError as error:
        return {"got": got, **failure(error)}
    return {"got": got, "status": messages.code().name}


class Calls:
    def __init__(self, channel):
        self.channel = channel

    def unary(self, method, request, timeout=LIMIT, metadata=None):
        call = self.channel.unary_unary("/test.Test/" + method)
        try:
            answer, ended = call.with_call(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            return failure(error)
        return {
            "status": ended.code().name,
            "got": answer,
            "head": plain(ended.initial_metadata()),
            "trailers": plain(ended.trailing_metadata()),
        }

    def stream(self, method, request, timeout=LIMIT):
        return take(self.channel.unary_stream("/test.Test/" + method)(request, timeout=timeout))

    def upload(self, requests):
        return self.channel.stream_unary("/test.Test/Join")(iter(requests), timeout=LIMIT).decode()


def kinds(calls):
    there = [("x-there", "and back"), ("x-bytes-bin", b"\x00\xff\x10")]
    echo = calls.unary("Echo", b"hello", metadata=there)
    echo["got"] = echo["got"].decode()
    chat = calls.channel.stream_stream("/test.Test/Chat")
    said = chat(iter([b"a", b"", b"c"]), timeout=LIMIT)
    return {
        "unary": echo,
        "no deadline": calls.unary("Echo", b"", timeout=None)["head"]["x-deadline"],
        "server streams": calls.stream("Count", b"5"),
        "nothing streamed": calls.stream("Count", b"0"),
        "client streams": calls.upload([b"a", b"b", b"c"]),
        "both stream": take(said),
    }


def turns(calls):
    """A conversation: each message waits for the answer to the one before."""
    wanted = queue.Queue()
    wanted.put(b"0")
    answers = calls.channel.stream_stream("/test.Test/Chat")(iter(wanted.get, None), timeout=LIMIT)
    got = []
    for answer in answers:
        got.append(answer.decode())
        wanted.put(str(len(got)).encode() if len(got) < 5 else None)
    return {"got": got, "status": answers.code().name}


def errors(calls):
    return {
        "abort": calls.unary("Abort", "FAILED_PRECONDITION no tea: 100 % späť".encode()),
        "late": calls.stream("Late", b""),
        "unknown": calls.unary("Nothing", b""),
    }


def large(calls):
    message = bytes(range(256)) * (4 << 12)
    answer = calls.unary("Echo", message)
    return {"status": answer["status"], "bytes": len(message), "same": answer.get("got") == message}


def parallel(calls):
    call = calls.channel.unary_unary("/test.Test/Echo")
    under_way = [(n, call.future(str(n).encode(), timeout=LIMIT)) for n in range(300)]
    stream = calls.channel.unary_stream("/test.Test/Count")
    streams = [stream(b"50", timeout=LIMIT) for _ in range(20)]
    wrong = [n for n, answer in under_way if answer.result() != str(n).encode()]
    lengths = [len(list(messages)) for messages in streams]
    return {"wrong": wrong, "lengths": lengths}


SCENARIOS = {
    "kinds": kinds,
    "turns": turns,
    "errors": errors,
    "large": large,
    "parallel": parallel,
    "echo": lambda calls: {**calls.unary("Echo", b""), "got": None},
    "silent": lambda calls: calls.unary("Silent", b"", timeout=0.3),
    "hold": lambda calls: calls.stream("Hold", b""),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("scenario")
    parser.add_argument("--ca")
    parser.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if arguments.ca:
        root = grpc.ssl_channel_credentials(open(arguments.ca, "rb").read())
        options.append(("grpc.ssl_target_name_override", "a.test"))
        channel = grpc.secure_channel(arguments.address, root, options)
    else:
        channel = grpc.insecure_channel(arguments.address, options)
    with channel:
        print(json.dumps(SCENARIOS[arguments.scenario](Calls(channel))), flush=True)


main()
