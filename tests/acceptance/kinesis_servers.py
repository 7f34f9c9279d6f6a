"""Servers that speak Kinesis and are not ours, each on a free port of the loopback interface."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway import ENVIRONMENT
from lake_gateway import free_port

HERE = Path(__file__).parent
REGION = "us-east-1"
START_SECONDS_MAX = 60
# Should nobody stop it, `timeout` does.
LIFE_SECONDS_MAX = 1800

# What a client has to have although neither server looks at it; the gateway reads the same from its environment.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """A running server. It ends with `stop`."""

    name: str
    # What one aggregated or plain record may be, and whether streams can be addressed by ARN.
    takes_arn = False

    def __init__(self, folder: Path, port: int | None = None):
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{self.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["timeout", str(LIFE_SECONDS_MAX), *self.command()],
                env=ENVIRONMENT | CREDENTIALS | self.environment(),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_up():
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name} did not come up: {self.log.read_text()}"
            time.sleep(0.05)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def is_up(self) -> bool:
        try:
            self.client("kinesis").list_streams()
        except (BotoCoreError, ClientError):
            return False
        return True

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"}),
        )

    def create_stream(self, stream: str, shards: int):
        kinesis = self.client("kinesis")
        kinesis.create_stream(StreamName=stream, ShardCount=shards)
        kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    def stop(self):
        """Ends it; `timeout` passes the signal on."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Kinesalite(Server):
    """kinesalite of npm: the strictest of them, with real sequence numbers. It knows streams by name only."""

    name = "kinesalite"

    def command(self) -> list[str]:
        program = HERE / "kinesis/node_modules/kinesalite/cli.js"
        assert program.exists(), f"{program} is not there: `make acceptance` installs it"
        preload = ["node", "--require", str(HERE / "kinesis/loopback.js")]
        # Streams are there at once, and more shards may be open than in a small account.
        return [*preload, str(program), "--port", str(self.port), "--createStreamMs", "0", "--shardLimit", "1000"]


class MiniStack(Server):
    """MiniStack of PyPI: Kinesis, S3, Glue, Firehose and Athena in one process."""

    name = "ministack"
    takes_arn = True

    def command(self) -> list[str]:
        return [str(Path(sys.executable).parent / "ministack")]

    def environment(self) -> dict[str, str]:
        # Without an address it would listen on every one.
        return {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }


SERVERS = {server.name: server for server in (Kinesalite, MiniStack)}


def sink_environment(server: Server, stream: str, kind: str = "kinesis", **keys) -> dict[str, str]:
    """A gateway's environment: its sink is this stream, of Kinesis or of Firehose."""
    keys = {"stream": stream, "region": REGION, "endpoint": server.endpoint} | keys
    settings = {f"LAKEGATE__{kind.upper()}__{key.upper()}": str(value) for key, value in keys.items()}
    return CREDENTIALS | settings | {"LAKEGATE__SINK__KIND": kind, "LAKEGATE__SCHEMAS__UNKNOWN_EVENTS": "accept"}
