"""Faults that people make in the Terraform, each seeded into a copy: something catches every one before an event is lost by it.

The table at the end of the run says by what. `validate` and `plan` need no account. `apply` is MiniStack's own refusal.
"""

import json
from dataclasses import dataclass, field

import pytest

from ministack_resources import Resources
from profiles import EC2, FARGATE, variables

STAGING = ["-var-file=envs/staging.tfvars"]
LAKE = "modules/lake/"


@dataclass
class Fault:
    name: str
    # File, what stands there, what a fault makes of it.
    change: tuple[str, str, str] | None
    # What catches it (validate, plan, apply, test), and a part of what it says.
    by: str
    says: str
    variables: list[str] = field(default_factory=list)


FAULTS = [
    Fault("an attribute that the provider does not know", (LAKE + "stream.tf", "retention_period ", "retention_hours  "), "validate", "Unsupported argument"),
    Fault("a required block is missing", (LAKE + "bucket.tf", 'versioning_configuration {\n    status = "Enabled"\n  }', ""), "validate", "Insufficient versioning_configuration blocks"),
    Fault("a resource that is not declared", (LAKE + "replica.tf", "aws_iam_role.replication[each.key].arn", "aws_iam_role.replicate[each.key].arn"), "validate", "Reference to undeclared resource"),
    Fault("a word in place of a number", ("modules/lake/bucket.tf", "noncurrent_days = 30", 'noncurrent_days = "a month"'), "validate", "a number is required"),
    Fault("an unknown way in", None, "plan", "ingest is stream, firehose or s3", variables(ingest="kafka")),
    Fault("a buffer that is too small for Parquet", ("main.tf", "buffer_seconds  = var.buffer_seconds", "buffer_seconds  = var.buffer_seconds\n  buffer_mib      = 5"), "validate", "64 to 128 MiB"),
    Fault("a buffer that is too short", None, "plan", "60 to 900 seconds", variables(buffer_seconds=10)),
    Fault("a retention that Kinesis does not have", None, "plan", "24 to 8760 hours", variables(retention_hours=12)),
    Fault("a fraction of a shard", None, "plan", "whole number", variables(shards=1.5)),
    Fault("bad jq", (LAKE + "firehose.tf", '"${key}: .${key}"', '"${key}: ${key}."'), "plan", "is not a jq object"),
    Fault("the prefix names another key than the query", (LAKE + "firehose.tf", '"events/${local.folders}', '"events/x=!{partitionKeyFromQuery:x}/${local.folders}'), "plan", "name different keys"),
    Fault("a table that does not exist", (LAKE + "firehose.tf", 'table = "events_dated"', 'table = "event_dated"'), "plan", "which the catalogue does not have"),
    Fault("compression beside conversion", (LAKE + "firehose.tf", 'compression  = "UNCOMPRESSED"', 'compression  = "GZIP"'), "plan", "takes UNCOMPRESSED only"),
    Fault("errors go where nobody watches", (LAKE + "firehose.tf", 'error_prefix = "errors/', 'error_prefix = "failed/'), "plan", "begins with errors/"),
    Fault("replication without versioning", (LAKE + "bucket.tf", 'status = "Enabled"\n  }\n}\n\nresource "aws_s3_bucket_ownership', 'status = "Suspended"\n  }\n}\n\nresource "aws_s3_bucket_ownership'), "plan", "Replication needs versioning"),
    Fault("a copy in the same region", None, "plan", "is the region of the lake itself", variables(replica_region="eu-west-1")),
    Fault("an archive before the first move", None, "plan", "the archive begins later", variables(archive_days=10)),
    Fault("a name that is too long for a bucket", None, "plan", "4 to 26 lower-case letters", variables(name="lakegate-of-the-department")),
    Fault("a stale catalogue", ("catalogue.json", '"format": 1', '"format": 0'), "validate", "another format"),
    Fault("prod without protection", None, "plan", "prod is protected", variables(environment="prod")),
    Fault("a certificate of another region", None, "plan", "not one of ACM in the region", variables(gateway=FARGATE | {"certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/x"})),
    Fault("all subnets in one zone", None, "plan", "subnets in two zones", variables(gateway=FARGATE | {"subnet_ids": ["subnet-a1", "subnet-a2"]})),
    Fault("a size that Fargate does not have", None, "plan", "Fargate has no size", variables(gateway=FARGATE | {"cpu": 256, "memory": 8192})),
    Fault("a drain that is longer than ECS waits", ("modules/gateway-fargate/main.tf", "drain = 60", "drain = 300"), "plan", "longer than the time after which ECS kills", variables(gateway=FARGATE)),
    Fault("acknowledged on a disk that ends with the task", None, "plan", "http.durability is delivered", variables(gateway=FARGATE | {"environment": {"LAKEGATE__HTTP__DURABILITY": "disk"}})),
    Fault("a lame duck that is longer than ECS waits", None, "plan", "longer than the time after which ECS kills", variables(gateway=FARGATE | {"environment": {"LAKEGATE__STOP__LAME_DUCK_SECONDS": "60"}})),
    Fault("half a task", None, "plan", "are whole numbers", variables(gateway=FARGATE | {"tasks_min": 1.5})),
    Fault("an image of a registry with a port, without a version", None, "plan", "needs a tag of a release", variables(gateway=FARGATE | {"image": "registry.example.com:5000/lakegate"})),
    Fault("an image without a version", None, "plan", "needs a tag of a release", variables(gateway=FARGATE | {"image": "lakegate:latest"})),
    Fault("a lake on a disk that ends with the task", None, "plan", "needs a disk that lasts", variables(gateway=FARGATE, ingest="s3")),
    Fault("two gateways for one disk", None, "plan", "Two of the subnets are in one zone", variables(gateway=EC2 | {"subnet_ids": ["subnet-a1", "subnet-a2"], "balancer_subnet_ids": ["subnet-a1", "subnet-b1"]})),
    Fault("a setting that ends its own quotes", None, "plan", "has a single quote", variables(gateway=EC2 | {"environment": {"LAKEGATE__LOG": "it's"}})),
    Fault("a release without a checksum", None, "plan", "is not a SHA-256", variables(gateway=EC2 | {"release": {"bucket": "b", "key": "k", "sha256": ""}})),
    Fault("a mail to nobody", None, "plan", "emails are addresses", variables(emails=["data-platform"])),
    Fault("a budget of nothing", None, "plan", "budget_usd is above 0", variables(budget_usd=0)),
    Fault("an analyst who is nobody", None, "plan", "ARNs of roles or users", variables(analysts=["analyst"])),
    Fault("a storage class that S3 does not have", (LAKE + "bucket.tf", '"INTELLIGENT_TIERING"', '"INTELLIGENT"'), "apply", "MalformedXML"),
    Fault("an event pattern that matches nothing", (LAKE + "error_watch.tf", '[{ prefix = "errors/" }]', '[{ begins = "errors/" }]'), "apply", "InvalidEventPattern"),
    Fault("a policy that is no JSON", (LAKE + "firehose_policy.tf", "policy   = data.aws_iam_policy_document.firehose[each.key].json", 'policy   = "{"'), "apply", "MalformedPolicyDocument"),
    Fault("Firehose may not encrypt", (LAKE + "firehose_policy.tf", '["kms:Decrypt", "kms:GenerateDataKey"]', '["kms:Decrypt"]'), "policies", "kms:GenerateDataKey"),
    Fault("the gateway may not list shards", (LAKE + "gateway_policy.tf", '"kinesis:ListShards", ', ""), "policies", "kinesis:ListShards"),
    Fault("the copy may not be written", (LAKE + "replica.tf", '"s3:ReplicateObject", ', ""), "policies", "s3:ReplicateObject"),
]

# Who has to be allowed what, in the profile with a stream. MiniStack allows everything, so the policies are read.
NEEDED = {
    "firehose": {
        "kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards", "kms:Decrypt", "kms:GenerateDataKey",
        "s3:AbortMultipartUpload", "s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutObject",
        "glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions", "logs:PutLogEvents",
    },
    "replication": {
        "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl",
        "s3:GetObjectVersionTagging", "s3:ReplicateObject", "s3:ReplicateTags", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey",
    },
    "gateway": {"kinesis:PutRecords", "kinesis:ListShards", "kms:GenerateDataKey"},
}


def actions(policy: str) -> set[str]:
    return {action for statement in json.loads(policy)["Statement"] for action in statement["Action"]}


def policy_faults(workspace) -> str:
    """Which actions are missing, or too many."""
    workspace.apply(*STAGING)
    state = json.loads(workspace.run("show", "-json").stdout)["values"]["root_module"]["child_modules"]
    lake = {one["address"]: one["values"] for module in state for one in module["resources"]}
    found = {
        "firehose": actions(lake['module.lake.aws_iam_role_policy.firehose["events"]']["policy"]),
        "replication": actions(lake['module.lake.aws_iam_role_policy.replication["here"]']["policy"]),
        "gateway": actions(workspace.output()["lake"]["gateway_policy"]),
    }
    return " ".join(f"{who}: {sorted(found[who] ^ needed)}" for who, needed in NEEDED.items() if found[who] != needed)


def caught_by(workspace, fault: Fault) -> tuple[str, str]:
    """What catches the fault first, and what it says."""
    validated = workspace.run("validate", "-no-color", code=None) if fault.change else None
    if validated and validated.returncode:
        return "validate", validated.text
    arguments = [*STAGING, *fault.variables]
    planned = workspace.run("plan", "-no-color", "-input=false", "-compact-warnings", *arguments, code=None)
    if planned.returncode:
        return "plan", planned.text
    wrong = policy_faults(workspace)
    if wrong:
        return "policies", wrong
    return "nothing", ""


def test_the_policies_without_a_fault_are_complete(workspaces):
    assert policy_faults(workspaces()) == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_is_caught(workspaces, shared, request, record_property, fault):
    cloud = Resources(request.getfixturevalue("ministack").endpoint) if fault.by == "apply" else None
    # What is applied has a workspace of its own; the others share one.
    workspace = workspaces(cloud) if fault.by in ("apply", "policies") else shared
    original = workspace.change(*fault.change) if fault.change else None
    try:
        if fault.by == "apply":
            applied = workspace.apply(*STAGING, code=None)
            workspace.run("destroy", "-auto-approve", "-input=false", *STAGING)
            by, said = ("apply", applied.text) if applied.returncode else ("nothing", "")
        else:
            by, said = caught_by(workspace, fault)
    finally:
        if original is not None:
            (workspace.folder / fault.change[0]).write_text(original)
    said = " ".join(said.replace("│", " ").split())
    assert (by, fault.says in said) == (fault.by, True), f"{fault.name}: {by}\n{said[-1500:]}"
    record_property("caught", f"{fault.name:<50} {by:<9} {fault.says}")
