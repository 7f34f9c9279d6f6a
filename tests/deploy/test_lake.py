"""The lake on MiniStack, made by Terraform and filled by a gateway: for the profile with a stream and for Firehose direct."""

import json
import os
import re
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path

import pytest

from events import good_events, new_uuid
from gateway import ENVIRONMENT, ROOT, Gateway, wait_until
from ministack_resources import REGION, Resources
from views_in_front import typed_views, with_views

COPY_REGION = "eu-central-1"
# `dev` with a copy too.
PROFILES = {
    "stream": ["-var-file=envs/staging.tfvars"],
    "firehose": ["-var-file=envs/dev.tfvars", f"-var=replica_region={COPY_REGION}"],
}


class Lake:
    """What a test asks of the services."""

    def __init__(self, cloud: Resources, about: dict):
        self.cloud, self.about = cloud, about
        self.athena = cloud.client("athena")

    def keys(self, prefix: str, copy=False) -> list[str]:
        s3 = self.cloud.client("s3", COPY_REGION if copy else REGION)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.about["copy" if copy else "bucket"], Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def views(self) -> dict[str, str]:
        """The SELECT of each view of Glue; MiniStack does not run them by itself."""
        tables = self.cloud.client("glue").get_tables(DatabaseName=self.about["database"])["TableList"]
        texts = {one["Name"]: one["ViewOriginalText"] for one in tables if one["TableType"] == "VIRTUAL_VIEW"}
        decoded = {name: re.fullmatch(r"/\* Presto View: (\S+) \*/", text)[1] for name, text in texts.items()}
        return {name: json.loads(b64decode(text))["originalSql"] for name, text in decoded.items()}

    def named_queries(self) -> dict[str, str]:
        ids = self.athena.list_named_queries(WorkGroup=self.about["workgroup"])["NamedQueryIds"]
        found = [self.athena.get_named_query(NamedQueryId=one)["NamedQuery"] for one in ids]
        return {one["Name"]: one["QueryString"] for one in found}

    def query(self, sql: str) -> list[list]:
        """The rows."""
        started = self.athena.start_query_execution(
            QueryString=sql, QueryExecutionContext={"Database": self.about["database"]}, WorkGroup=self.about["workgroup"]
        )["QueryExecutionId"]

        def ended():
            status = self.athena.get_query_execution(QueryExecutionId=started)["QueryExecution"]["Status"]
            return status if status["State"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        status = wait_until("the query has ended", 60, ended)
        assert status["State"] == "SUCCEEDED", f"{status['StateChangeReason']}\n{sql}"
        rows = self.athena.get_query_results(QueryExecutionId=started)["ResultSet"]["Rows"]
        return [[cell.get("VarCharValue") for cell in row["Data"]] for row in rows][1:]


def restored(endpoint: str, *arguments: str) -> str:
    """What `deploy/restore-from-copy` says, with the command line of AWS."""
    own = {"AWS_ACCESS_KEY_ID": "000000000000", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": endpoint}
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [ROOT / "deploy" / "restore-from-copy", *arguments]
    return subprocess.run(command, env=ENVIRONMENT | own | path, capture_output=True, text=True, check=True).stdout


def visits(count: int) -> list[dict]:
    """Events of visits to a menu, for the saved queries; and one of each other kind."""
    examples = {event["event_name"]: event for event in good_events()}
    made = []
    for number in range(count):
        ids = {"visit_id": new_uuid(), "session_id": new_uuid(), "restaurant_id": "quinta.norte", "menu_id": "dinner"}
        for name, about in examples.items():
            if name.startswith("menu:"):
                made.append(about | ids | {"event_uuid": new_uuid(), "created_at": time.time() - number})
        # A question of its own is what share stops after the appetizers.
        reached = {"section_id": "appetizers", "section_index": 0}
        made.append(examples["menu:section:reached"] | ids | reached | {"event_uuid": new_uuid(), "created_at": time.time() - number})
    return made + [about | {"event_uuid": new_uuid(), "created_at": time.time()} for about in examples.values()]


@pytest.mark.parametrize("ingest", ["stream", "firehose"])
def test_from_an_empty_account_to_answers_in_athena_and_back(ministack, workspaces, tmp_path, ingest):
    cloud = Resources(ministack.endpoint)
    before = cloud.everything()
    workspace = workspaces(cloud)
    workspace.apply(*PROFILES[ingest])
    about = workspace.output()["lake"]
    lake = Lake(cloud, about)
    # A second plan has nothing to do.
    workspace.run("plan", "-detailed-exitcode", "-input=false", *PROFILES[ingest], code=0)

    # Who is told of errors reads it here in place of a mail.
    sqs, sns = cloud.client("sqs"), cloud.client("sns")
    inbox = sqs.create_queue(QueueName=f"inbox-{ingest}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=inbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=about["notices"], Protocol="sqs", Endpoint=arn)

    kind = {"stream": "KINESIS", "firehose": "FIREHOSE"}[ingest]
    assert about["gateway_environment"][f"LAKEGATE__{kind}__AGGREGATION"] != "none"
    # MiniStack opens no packed records, and converts within the call, one record after the other.
    own = {"AGGREGATION": "none", "ENDPOINT": ministack.endpoint, "CALL_RECORDS_MAX": "40", "CALL_TIMEOUT_MS": "30000"}
    environment = about["gateway_environment"] | {f"LAKEGATE__{kind}__{key}": value for key, value in own.items()}
    environment |= {"AWS_ACCESS_KEY_ID": "000000000000", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
    gateway = Gateway(tmp_path, environment=environment, plaintext=True).start()
    try:
        events = visits(2)
        answer = gateway.post(json.dumps(events), Prefer="durability=delivered")
        assert answer.counts == (len(events), 0, 0, 0), answer.body
        bad = {"event_uuid": new_uuid(), "event_name": "menu:item:viewed", "created_at": time.time()}
        assert gateway.post(json.dumps(bad)).counts == (0, 0, 1, 0)

        # Parquet, by type and day, under our key.
        files = wait_until("all files are there", 60, lambda: (found := lake.keys("events/")) and len(found) >= len(events) and found)
        today = time.strftime("%Y-%m-%d", time.gmtime())
        folders = {re.match(r"events/event_type=(\w+)/created_date=([\d-]+)/", key).groups() for key in files}
        assert {kind for kind, _ in folders} == {event["event_name"].split(":")[0] for event in events}
        assert {day for _, day in folders} <= {today, time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))}
        head = cloud.client("s3").head_object(Bucket=about["bucket"], Key=files[0])
        assert head["ServerSideEncryption"] == "aws:kms" and head["SSEKMSKeyId"] == about["key_arn"]
        content = cloud.client("s3").get_object(Bucket=about["bucket"], Key=files[0])["Body"].read()
        assert content[:4] == content[-4:] == b"PAR1"

        # A copy of each in the second region, under the replica of the key.
        copies = wait_until("all copies are there", 30, lambda: (found := lake.keys("events/", copy=True)) and len(found) == len(files) and found)
        assert sorted(copies) == sorted(files)
        copy = cloud.client("s3", COPY_REGION).head_object(Bucket=about["copy"], Key=copies[0])
        assert copy["ServerSideEncryption"] == "aws:kms"
        # MiniStack copies the name of the first key; the rule has the replica's.
        rule = cloud.client("s3").get_bucket_replication(Bucket=about["bucket"])["ReplicationConfiguration"]["Rules"][0]
        replica = rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"]
        assert replica == about["key_arn"].replace(REGION, COPY_REGION)

        # The gateway's dead letter is in its folder, whole.
        letters = wait_until("the dead letter is there", 60, lambda: lake.keys("dead-letters/"))
        letter = cloud.client("s3").get_object(Bucket=about["bucket"], Key=letters[0])["Body"].read().decode()
        assert bad["event_uuid"] in letter and "schema_violation" in letter

        # What Firehose cannot convert is in the error partition, and somebody is told.
        if ingest == "stream":
            cloud.client("kinesis").put_record(StreamName=about["streams"]["events"], Data=b"no JSON\n", PartitionKey="x")
        else:
            cloud.client("firehose").put_record(DeliveryStreamName=about["deliveries"]["events"], Record={"Data": b"no JSON\n"})
        [error] = wait_until("the error file is there", 30, lambda: lake.keys("errors/"))
        assert error.startswith("errors/processing-failed/")
        told = wait_until("the notice is there", 30, lambda: sqs.receive_message(QueueUrl=inbox, WaitTimeSeconds=1).get("Messages"))
        message = json.loads(told[0]["Body"])["Message"]
        assert "LakegateErrorPartition" in message and error in message

        # Athena answers: each event once, and every saved query.
        named = lake.named_queries()
        glue = lake.views()
        views = typed_views() | {name: glue[name] for name in ("events_raw", "events")}
        assert set(views) == set(glue) | {name.removeprefix("create_view_") for name in named if name.startswith("create_view_")}
        [[rows, distinct]] = lake.query(with_views("SELECT count(*), count(DISTINCT event_uuid) FROM events", views))
        assert int(rows) == int(distinct) == len(events)
        questions = {name: sql for name, sql in named.items() if not name.startswith("create_view_")}
        assert {"most_viewed_dishes", "how_far_down", "time_per_dish", "by_day_and_hour"} <= set(questions)
        unanswered = {}
        for name, sql in sorted(questions.items()):
            try:
                assert lake.query(with_views(sql, views)), "no rows"
            except AssertionError as error:
                unanswered[name] = str(error).splitlines()[0]
        assert not unanswered

        # The lake's events are deleted; they come back from the copy, and Athena counts them again.
        for key in files:
            cloud.client("s3").delete_object(Bucket=about["bucket"], Key=key)
        assert not lake.keys("events/")
        said = restored(ministack.endpoint, about["copy"], COPY_REGION, about["bucket"], REGION)
        assert said == f"{len(files)} files in the copy, {len(files)} in the lake\n"
        assert sorted(lake.keys("events/")) == sorted(files)
        # A folder that the copy does not have is a slip, not a success.
        with pytest.raises(subprocess.CalledProcessError):
            restored(ministack.endpoint, about["copy"], COPY_REGION, about["bucket"], REGION, "event_type=nothing")
        again = cloud.client("s3").head_object(Bucket=about["bucket"], Key=files[0])
        assert again["SSEKMSKeyId"] == about["key_arn"]
        [[rows]] = lake.query(with_views("SELECT count(*) FROM events", views))
        assert int(rows) == len(events)
    finally:
        gateway.stop()

    sqs.delete_queue(QueueUrl=inbox)
    workspace.run("destroy", "-auto-approve", "-input=false", *PROFILES[ingest])
    assert cloud.everything() == before
    print(f"{ingest}: {len(events)} events, {len(files)} files and copies, {len(questions)} queries; only remembered: {sorted(cloud.remembered)}")


def test_a_protected_lake_with_events_is_not_destroyed(ministack, workspaces):
    """`destroy` of prod fails where there are data, and the data are still there."""
    cloud = Resources(ministack.endpoint)
    workspace = workspaces(cloud)
    workspace.apply("-var-file=envs/prod.tfvars")
    about = workspace.output()["lake"]
    s3 = cloud.client("s3")
    s3.put_object(Bucket=about["bucket"], Key="events/kept", Body=b"x")
    refused = workspace.run("destroy", "-auto-approve", "-input=false", "-var-file=envs/prod.tfvars", code=1)
    assert "BucketNotEmpty" in refused.text
    assert s3.get_object(Bucket=about["bucket"], Key="events/kept")["Body"].read() == b"x"
