"""A folder with the Terraform of `deploy/`, in which a test runs Terraform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from provider_schema import provider_schema
from rig_paths import ROOT, TERRAFORM
from stand_in_provider import serve

COMMAND_SECONDS_MAX = 170
HERE = Path(__file__).resolve().parent


class Done(subprocess.CompletedProcess):
    """A command that has ended."""

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    def json_text(self) -> str:
        """The text that `terraform console` printed in quotes."""
        return json.loads(self.stdout)


class Workspace:
    """A copy of deploy/terraform and what it reads, and a provider. `cloud` as for the stand-in."""

    def __init__(self, folder: Path, cloud=None):
        self.folder = folder / "deploy" / "terraform"
        left_out = shutil.ignore_patterns(".terraform*", "*.tfstate*", "backend.tf")
        shutil.copytree(TERRAFORM, self.folder, ignore=left_out)
        for name in ("queries", "ops"):
            shutil.copytree(ROOT / name, folder / name)
        self.server, provider = serve(provider_schema(), folder / "aws", cloud)
        quiet = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))} | quiet | provider

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Done:
        """One command of Terraform. `code` None: whatever exit code."""
        command = [sys.executable, str(HERE / "terraform.py"), f"-chdir={self.folder}", *arguments]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, input=stdin)
        done = Done(ended.args, ended.returncode, ended.stdout, ended.stderr)
        assert code is None or done.returncode == code, f"terraform {' '.join(arguments)}: {done.returncode}\n{done.text[-4000:]}"
        return done

    def init(self):
        return self.run("init", "-input=false", "-no-color")

    def apply(self, *arguments: str, code: int | None = 0):
        return self.run("apply", "-auto-approve", "-input=false", "-no-color", "-compact-warnings", *arguments, code=code)

    def output(self) -> dict:
        return {name: about["value"] for name, about in json.loads(self.run("output", "-json").stdout).items()}

    def planned(self, *arguments: str) -> dict:
        """The plan as JSON."""
        self.run("plan", "-input=false", "-no-color", "-out=plan", *arguments)
        return json.loads(self.run("show", "-json", "plan").stdout)

    def change(self, file: str, old: str, new: str) -> str:
        """Replaces a text that must be there. Returns the whole text of before."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))
        return text

    def stop(self):
        self.server.stop(0).wait()
