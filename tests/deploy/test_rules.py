"""checkov and tf-nag: no finding without a written reason, and no reason without a finding.

checkov's reasons are beside the resources (`checkov:skip=…`), tf-nag's are here.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from profiles import PROFILES
from rig_paths import TERRAFORM

TOOLS = Path(sys.executable).parent

# Rule, address, and why it is as it is.
REASONS = [
    ("AwsSolutions-AS3", r"aws_autoscaling_group\.", "a group of one: LakegateFewGateways tells when its instance is missing"),
    ("AwsSolutions-EC23", r"balancer\.aws_vpc_security_group_ingress_rule\.https", "browsers anywhere send events; only port 443 of the balancer"),
    ("AwsSolutions-EC26", r"aws_launch_template\.", "both disks are encrypted; the provider writes \"true\" as a text, which the rule does not read"),
    ("AwsSolutions-ECS2", r"aws_ecs_task_definition\.", "these settings are no secrets; the keys come from Parameter Store"),
    ("AwsSolutions-ELB2", r"aws_lb\.", "access logs repeat what the gateway's own access log says, and hold the addresses of visitors"),
    ("AwsSolutions-IAM5", r"aws_iam_role(_policy)?\.", "objects of one folder, streams of one log group, and what has no resources: test_plans.py reads each action"),
    ("AwsSolutions-KDF1", r'aws_kinesis_firehose_delivery_stream\.(events|dead_letters)\[', "with a stream as its source AWS refuses it: the stream is encrypted"),
    ("AwsSolutions-S1", r"aws_s3_bucket\.(lake|copy)", "who reads objects is in CloudTrail, if the account records data events"),
    ("AwsSolutions-S10", r"aws_s3_bucket\.(lake|copy)", "the policy is a resource of its own, aws_s3_bucket_policy, which denies all but TLS; the rule looks at the bucket only"),
]


def test_checkov_finds_nothing_without_a_reason():
    command = [TOOLS / "checkov", "-d", TERRAFORM, "--framework", "terraform", "--skip-download", "--compact", "--quiet", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}"})
    report = json.loads(done.stdout)
    failed = [(one["check_id"], one["resource"], one["check_name"]) for one in report["results"]["failed_checks"]]
    assert report["summary"]["passed"] > 250 and report["summary"]["parsing_errors"] == 0, report["summary"]
    assert not failed, failed
    reasons = re.findall(r"checkov:skip=(\w+):(.*)", "\n".join(file.read_text() for file in TERRAFORM.rglob("*.tf")))
    assert all(len(reason.split()) >= 4 for _, reason in reasons), reasons


def findings(workspace, folder: Path, profile: str) -> set[tuple[str, str]]:
    """tf-nag's, of a plan of what was applied: there the policies are known."""
    workspace.apply(*PROFILES[profile])
    plan = folder / "plan.json"
    plan.write_text(json.dumps(workspace.planned(*PROFILES[profile])))
    command = [TOOLS / "tf-nag", "scan", "--plan-json", plan, "--format", "json", "--fail-on", "never"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = report if isinstance(report, list) else report.get("findings", [])
    return {(one["rule_id"], one.get("address") or one.get("resource")) for one in found}


def test_tf_nag_finds_nothing_without_a_reason(workspaces, tmp_path):
    found = set().union(*(findings(workspaces(), tmp_path, name) for name in ("fargate, stream", "fargate, firehose", "ec2, s3")))
    reason = {one: [rule for rule in REASONS if rule[0] == one[0] and re.search(rule[1], one[1])] for one in found}
    without = sorted(one for one, reasons in reason.items() if not reasons)
    assert not without, without
    used = {rule for rules in reason.values() for rule in rules}
    assert used == set(REASONS), f"nothing is found any more for {set(REASONS) - used}"
