"""`make -C deploy`, as an operator runs it, on a copy of the folder."""

import os
import shutil
import subprocess
import sys

import pytest

from gateway import ROOT, binary
from rig import HERE


@pytest.fixture
def make(tmp_path, workspaces):
    """Runs make in a copy, with the stand-in as the provider."""
    environment = workspaces().environment
    left_out = shutil.ignore_patterns(".terraform*", "*.tfstate*", "backend.tf")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=left_out)
    for folder in ("queries", "schemas", "ops"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    terraform = f"{sys.executable} {HERE}/terraform.py"

    def run(*words: str):
        command = ["make", "-C", str(tmp_path / "deploy"), f"TERRAFORM={terraform}", f"LAKEGATE={binary()}", *words]
        done = subprocess.run(command, env=environment | {"TF_CLI_ARGS_apply": "-auto-approve", "TF_CLI_ARGS_destroy": "-auto-approve"},
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    run.folder = tmp_path / "deploy" / "terraform"
    return run


def test_an_environment_is_planned_applied_and_destroyed(make):
    code, said = make("plan", "ENV=dev")
    assert code == 0 and "to add, 0 to change" in said, said
    assert make("apply", "ENV=dev")[0] == 0
    assert (make.folder / "dev.tfstate").exists()
    code, said = make("output", "ENV=dev")
    assert code == 0 and '"LAKEGATE__SINK__KIND":"firehose"' in said.replace(" ", "").replace("\n", ""), said
    code, said = make("plan", "ENV=dev")
    assert code == 0 and "No changes" in said, said
    # Another environment has a state of its own.
    code, said = make("plan", "ENV=staging")
    assert code == 0 and "0 to destroy" in said, said
    code, said = make("destroy", "ENV=dev")
    assert code == 0 and "Destroy complete" in said, said


def test_prod_is_not_destroyed_by_a_slip_and_an_unknown_environment_is_named(make):
    code, said = make("destroy", "ENV=prod")
    assert code == 2 and "prod is protected" in said, said
    code, said = make("plan")
    assert code == 2 and "ENV is dev, staging or prod" in said, said


def test_an_environment_that_was_copied_from_prod_is_protected_too(make):
    shutil.copy(make.folder / "envs" / "prod.tfvars", make.folder / "envs" / "recovery.tfvars")
    code, said = make("destroy", "ENV=recovery")
    assert code == 2 and "recovery is protected" in said, said


def test_a_state_is_not_left_behind_when_it_is_to_be_kept_in_a_bucket(make):
    """With an empty state Terraform would make everything a second time."""
    assert make("apply", "ENV=dev")[0] == 0
    shared = ("ENV=dev", "STATE_BUCKET=states", "STATE_REGION=eu-west-1")
    code, said = make("plan", *shared)
    assert code == 2 and "make -C deploy move-state ENV=dev" in said and "to add" not in said, said
    # Back to where it is: nothing to do.
    code, said = make("plan", "ENV=dev")
    assert code == 0 and "No changes" in said, said


def test_a_bucket_for_the_state_needs_its_region(make):
    code, said = make("plan", "ENV=dev", "STATE_BUCKET=states")
    assert code == 2 and "STATE_REGION is missing" in said, said


def test_a_shared_state_is_encrypted_and_locked(make):
    make("plan", "ENV=dev", "STATE_BUCKET=states", "STATE_REGION=eu-west-1")
    backend = (make.folder / "backend.tf").read_text()
    assert 'bucket       = "states"' in backend and "use_lockfile = true" in backend and "encrypt      = true" in backend


def test_the_catalogue_is_written_from_the_registry(make):
    file = make.folder / "catalogue.json"
    committed = file.read_text()
    file.write_text("{}")
    code, said = make("catalogue")
    assert code == 0, said
    assert file.read_text() == committed and os.listdir(make.folder).count("catalogue.json.new") == 0
