"""A registry of images and charts on this machine, for what a release publishes."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import required
import yaml

from gateway import ENVIRONMENT, wait_until
from lake_gateway import free_port

TOOLS = Path(sys.executable).parent


class Registry:
    """Runs while the `with` block does. Plain HTTP, without keys, on loopback."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"

    def __enter__(self) -> "Registry":
        program = required.program("docker-registry", "Debian's package docker-registry has it", f"{TOOLS}:{ENVIRONMENT['PATH']}")
        config = self.folder / "registry.yml"
        storage = {"filesystem": {"rootdirectory": str(self.folder / "registry")}}
        config.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": self.address}, "log": {"level": "warn"}}))
        self.log = (self.folder / "registry.log").open("w")
        self.process = subprocess.Popen([program, "serve", config], env=ENVIRONMENT, stdout=self.log, stderr=self.log)
        wait_until("the registry answers", 30, self._answers)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "registry.log").read_text()
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
