"""What Terraform plans, against the provider's real schema, and how it fits the gateway."""

import base64
import json
import re
import subprocess

import pytest
import yaml

from gateway import ENVIRONMENT, ROOT, binary
from profiles import PROFILES
from rig_paths import TERRAFORM


def resources(plan: dict) -> list[dict]:
    """Every planned resource of every module."""
    found, modules = [], [plan["planned_values"]["root_module"]]
    while modules:
        module = modules.pop()
        found += module.get("resources", [])
        modules += module.get("child_modules", [])
    return found


def applied(workspace) -> list[dict]:
    """Every resource that is there."""
    return resources({"planned_values": json.loads(workspace.run("show", "-json").stdout)["values"]})


def test_the_files_are_formatted_and_valid_and_terraforms_own_tests_pass(shared):
    shared.run("fmt", "-check", "-recursive", "-diff")
    shared.run("validate", "-no-color")
    said = shared.run("test", "-no-color").stdout
    assert re.search(r"Success! (\d+) passed, 0 failed", said) and int(re.search(r"(\d+) passed", said)[1]) >= 8, said


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_applied_configures_the_gateway_and_is_destroyed(workspaces, profile):
    """The types that MiniStack does not have are remembered only: this holds the references and the conditions together."""
    workspace = workspaces()
    arguments = [one.replace("envs/prod", "envs/staging") for one in PROFILES[profile]]
    workspace.apply(*arguments)
    gateway = workspace.output().get("gateway")
    assert (gateway is None) == (profile == "no gateway")
    if gateway:
        # The disk of a task ends with the task.
        durability = "delivered" if profile.startswith("fargate") else None
        assert gateway["environment"].get("LAKEGATE__HTTP__DURABILITY") == durability
        printed = checked_configuration(gateway["environment"])
        assert 'trusted = ["10.0.0.0/16"]' in printed and "plaintext = true" in printed
    workspace.run("plan", "-detailed-exitcode", "-input=false", *arguments, code=0)
    workspace.run("destroy", "-auto-approve", "-input=false", *arguments)
    assert workspace.run("state", "list").stdout == ""


def checked_configuration(environment: dict[str, str]) -> str:
    """What `lakegate config check` makes of the settings of a task or an instance."""
    secret = "be91a6e1d74af7b1a7f0ac1ac9ec2c6c5d1a4ba4c4a3d1a15cd4cd0e4cb26d33"
    # Listener and schemas as in the image.
    own = {"LAKEGATE__HTTP__LISTEN": "0.0.0.0:8443", "LAKEGATE__KEYS": f'[{{name="web", secret_sha256="{secret}"}}]'}
    own |= environment
    own["LAKEGATE__SCHEMAS__DIR"] = str(ROOT / "schemas")
    checked = subprocess.run([binary(), "config", "check"], env=ENVIRONMENT | own, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    return checked.stdout


def test_the_alarms_have_the_names_of_the_prometheus_alerts(shared):
    alerts = yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"]
    names = {rule["alert"] for group in alerts for rule in group["rules"]}
    planned = resources(shared.planned(*PROFILES["fargate, stream"]))
    alarms = {one["values"]["alarm_name"].removeprefix("lakegate-prod-") for one in planned if one["type"] == "aws_cloudwatch_metric_alarm"}
    rules = "\n".join(one["values"]["input_transformer"][0]["input_template"] for one in planned if one["type"] == "aws_cloudwatch_event_target")
    # CloudWatch's agent takes no histograms, so a slow disk shows as LakegateSlow only.
    missing = names - alarms - {"LakegateSlowDisk"} - {name for name in names if f"{name}:" in rules}
    assert not missing, f"no alarm of CloudWatch has the name of {missing}"
    own = {name.split("-")[0] for name in alarms} - names
    assert own == {
        "LakegateFewGateways", "LakegateStreamThrottled", "LakegateStreamLags", "LakegateFirehoseLags", "LakegateFirehoseThrottled",
        "LakegateFirehoseConversion", "LakegatePartitionsExceeded", "LakegateCopyFails", "LakegateCopyLags",
    }


def test_the_agent_sends_exactly_the_metrics_that_alarms_and_dashboard_read(shared):
    planned = resources(shared.planned(*PROFILES["fargate, stream"]))
    [task] = [one for one in planned if one["type"] == "aws_ecs_task_definition"]
    # A planned text with unknown parts is not shown, so the agent's configuration is read where it is made.
    assert task["values"]["family"] == "lakegate-prod"
    read = set()
    for alarm in planned:
        if alarm["type"] == "aws_cloudwatch_metric_alarm":
            values = alarm["values"]
            queries = [query["metric"][0] for query in values["metric_query"] or [] if query["metric"]]
            for metric in [values, *queries]:
                if metric.get("namespace") == "Lakegate":
                    read.add((metric["metric_name"], tuple(sorted(metric["dimensions"]))))
    agent = json.loads(shared.run("console", "-var-file=envs/prod.tfvars", stdin="module.alarms.metrics.agent\n").json_text())
    declared = set()
    for declaration in agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]:
        for selector in declaration["metric_selectors"]:
            declared.add((selector.strip("^$"), tuple(sorted(declaration["dimensions"][0]))))
    assert declared == read
    # The gateway has each of these metrics.
    spelled = (ROOT / "ops/prometheus/alerts.yml").read_text() + (ROOT / "ops/grafana/lakegate.json").read_text()
    assert not {name for name, _ in declared if name not in spelled}


def test_the_codes_that_block_are_those_of_the_prometheus_alert():
    text = (ROOT / "ops/prometheus/alerts.yml").read_text()
    blocking = re.search(r'code=~"([a-z_|]+)"', text)[1]
    assert f'blocking = "{blocking}"' in (TERRAFORM / "modules/alarms/gateway_alarms.tf").read_text()


def test_policies_name_each_action_and_each_resource(workspaces):
    """`*` as an action is in the key's own policy and in denials only; `*` as a resource where AWS knows none."""
    workspace = workspaces()
    workspace.apply(*PROFILES["fargate, stream"])
    policies = [one for one in applied(workspace) if one["type"] == "aws_iam_role_policy"]
    assert len(policies) >= 6
    actions = {}
    for policy in policies:
        for statement in json.loads(policy["values"]["policy"])["Statement"]:
            for action in statement["Action"]:
                assert "*" not in action, policy["address"]
                actions.setdefault(action, set()).update(statement["Resource"])
    anywhere = {action for action, where in actions.items() if "*" in where}
    assert anywhere == {"ecr:GetAuthorizationToken"}
    assert {"kms:GenerateDataKey", "kms:Decrypt", "logs:PutLogEvents", "kinesis:PutRecords", "kinesis:ListShards"} <= set(actions)


def test_eventbridge_may_publish_to_the_encrypted_topic(workspaces):
    """AWS documents that conditions on the source are not supported there, neither in the key's policy nor in the topic's: the notice
    would not come. MiniStack does not look at policies."""
    workspace = workspaces()
    workspace.apply("-var-file=envs/dev.tfvars")
    found = {one["address"]: one["values"]["policy"] for one in applied(workspace) if one["type"] in ("aws_kms_key", "aws_sns_topic_policy")}
    needed = {
        "module.lake.aws_kms_key.lake": {"kms:Decrypt", "kms:GenerateDataKey"},
        "module.lake.aws_sns_topic_policy.notices": {"sns:Publish"},
    }
    assert set(found) == set(needed)
    for address, policy in found.items():
        statements = [one for one in json.loads(policy)["Statement"] if "events.amazonaws.com" in one["Principal"].get("Service", [])]
        allowed = {action for one in statements if "Condition" not in one for action in one["Action"]}
        assert allowed == needed[address], address


def test_the_script_that_starts_an_instance_is_a_script(workspaces):
    """As an instance gets it, with all that Terraform puts in."""
    workspace = workspaces()
    workspace.apply(*PROFILES["ec2, s3"])
    scripts = [one for one in applied(workspace) if one["type"] == "aws_launch_template"]
    assert len(scripts) == 2

    for template in scripts:
        text = base64.b64decode(template["values"]["user_data"]).decode()
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        settings = re.search(r"<<'SETTINGS'\n(.*?)\nSETTINGS\n", text, re.S)[1].splitlines()
        assert all(re.fullmatch(r"[A-Z_0-9]+='[^']*'", line) for line in settings if line), settings
        assert len(text) < 16_384, "EC2 takes no longer user data"
