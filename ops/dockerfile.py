"""The Dockerfile, read: its stages, and what its last stage says of the image. An image that is assembled without an engine
(`ops/image`) is the same one, because it is made from this."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNITS = {"s": 10**9, "m": 60 * 10**9}


def stages(text: str | None = None) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, continued lines joined."""
    whole = (ROOT / "Dockerfile").read_text() if text is None else text
    whole = re.sub(r"^\s*#.*\n", "", whole, flags=re.MULTILINE).replace("\\\n", " ")
    instructions = [tuple(line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]
    starts = [index for index, (word, _) in enumerate(instructions) if word == "FROM"] + [len(instructions)]
    return [instructions[start:end] for start, end in zip(starts, starts[1:])]


@dataclass(frozen=True)
class Copied:
    """A COPY of the last stage."""

    source: str
    target: str
    owner: int
    # Of the stage that builds the program, or of the repository.
    is_built: bool


class Image:
    """The last stage."""

    def __init__(self):
        self.instructions = stages()[-1]
        self.base = dict(self.instructions)["FROM"]

    def _one(self, word: str) -> str:
        (rest,) = [rest for found, rest in self.instructions if found == word]
        return rest

    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self._one("ENV").split())

    def labels(self, arguments: dict[str, str]) -> dict[str, str]:
        """With the values of its ARGs, or their defaults."""
        defaults = dict(rest.split("=", 1) for word, rest in self.instructions if word == "ARG")
        text = self._one("LABEL")
        for name, value in (defaults | arguments).items():
            text = text.replace(f"${{{name}}}", value)
        return dict(word.split("=", 1) for word in shlex.split(text))

    def copies(self) -> list[Copied]:
        found = []
        for word, rest in self.instructions:
            if word == "COPY":
                *options, source, target = rest.split()
                owner = next((int(option.split("=")[1].split(":")[0]) for option in options if option.startswith("--chown=")), 0)
                found.append(Copied(source, target, owner, any(option.startswith("--from=") for option in options)))
        return found

    def health_check(self) -> dict:
        options, command = self._one("HEALTHCHECK").split("CMD ")
        found = dict(word.removeprefix("--").split("=") for word in options.split())

        def nanoseconds(name: str) -> int:
            return int(found[name][:-1]) * UNITS[found[name][-1]]

        return {"Test": ["CMD", *json.loads(command)], "Interval": nanoseconds("interval"), "Timeout": nanoseconds("timeout"),
                "StartPeriod": nanoseconds("start-period"), "Retries": int(found["retries"])}

    def config(self, base: dict, arguments: dict[str, str]) -> dict:
        """The `config` of the image, over that of its base."""
        environment = dict(word.split("=", 1) for word in base.get("Env", [])) | self.environment()
        return base | {
            "User": self._one("USER"),
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": json.loads(self._one("ENTRYPOINT")),
            "Cmd": json.loads(self._one("CMD")),
            "ExposedPorts": {f"{port}/tcp": {} for port in self._one("EXPOSE").split()},
            "Volumes": {volume: {} for volume in json.loads(self._one("VOLUME"))},
            "StopSignal": self._one("STOPSIGNAL"),
            "Labels": base.get("Labels", {}) | self.labels(arguments),
            # Of Docker; the OCI's own configuration has no such field, and engines that do not know it pass over it.
            "Healthcheck": self.health_check(),
        }


if __name__ == "__main__":
    # What the image is built upon, for whoever fetches it.
    print(Image().base)
