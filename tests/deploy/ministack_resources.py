"""What the stand-in provider makes on MiniStack: the types on the way of an event, and what watches them.

A method for each type makes it, and returns what the service decided; `no_…` deletes it. Types without a method are only remembered.
"""

from __future__ import annotations

import boto3
from botocore.config import Config

REGION = "eu-west-1"


def first(blocks: list | None) -> dict:
    return (blocks or [{}])[0]


class Resources:
    """The resources of one MiniStack."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.remembered: set[str] = set()

    def client(self, service: str, region: str | None = None):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=region or REGION, aws_access_key_id="000000000000", aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"}),
        )

    def apply(self, kind: str, state: dict, prior: dict | None) -> dict:
        make = getattr(self, kind, None)
        if make is None:
            self.remembered.add(kind)
            return {}
        assert prior is None or kind in UPDATED, f"{kind} was changed, and the stand-in cannot change it"
        return make(state) or {}

    def delete(self, kind: str, state: dict):
        unmake = getattr(self, f"no_{kind}", None)
        if unmake:
            unmake(state)

    # ---- KMS

    def aws_kms_key(self, state):
        key = self.client("kms").create_key(
            Description=state.get("description") or "", MultiRegion=bool(state["multi_region"]), Policy=state["policy"]
        )["KeyMetadata"]
        if state.get("enable_key_rotation"):
            self.client("kms").enable_key_rotation(KeyId=key["KeyId"])
        return {"arn": key["Arn"], "key_id": key["KeyId"], "id": key["KeyId"]}

    def no_aws_kms_key(self, state):
        days = int(state.get("deletion_window_in_days") or 30)
        self.client("kms").schedule_key_deletion(KeyId=state["key_id"], PendingWindowInDays=days)

    def aws_kms_replica_key(self, state):
        primary = state["primary_key_arn"]
        kms = self.client("kms", primary.split(":")[3])
        key = kms.replicate_key(KeyId=primary, ReplicaRegion=state["region"])["ReplicaKeyMetadata"]
        return {"arn": key["Arn"], "key_id": key["KeyId"], "id": key["KeyId"]}

    def no_aws_kms_replica_key(self, state):
        self.client("kms", state["region"]).schedule_key_deletion(KeyId=state["key_id"], PendingWindowInDays=7)

    def aws_kms_alias(self, state):
        self.client("kms").create_alias(AliasName=state["name"], TargetKeyId=state["target_key_id"])

    def no_aws_kms_alias(self, state):
        self.client("kms").delete_alias(AliasName=state["name"])

    # ---- Kinesis

    def aws_kinesis_stream(self, state):
        kinesis = self.client("kinesis")
        mode = first(state["stream_mode_details"]).get("stream_mode") or "PROVISIONED"
        shards = {"ShardCount": int(state["shard_count"])} if mode == "PROVISIONED" else {}
        kinesis.create_stream(StreamName=state["name"], StreamModeDetails={"StreamMode": mode}, **shards)
        kinesis.get_waiter("stream_exists").wait(StreamName=state["name"], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        if state.get("encryption_type") == "KMS":
            kinesis.start_stream_encryption(StreamName=state["name"], EncryptionType="KMS", KeyId=state["kms_key_id"])
        if int(state.get("retention_period") or 24) > 24:
            hours = int(state["retention_period"])
            kinesis.increase_stream_retention_period(StreamName=state["name"], RetentionPeriodHours=hours)
        arn = kinesis.describe_stream_summary(StreamName=state["name"])["StreamDescriptionSummary"]["StreamARN"]
        return {"arn": arn, "id": arn}

    def no_aws_kinesis_stream(self, state):
        self.client("kinesis").delete_stream(StreamName=state["name"], EnforceConsumerDeletion=bool(state["enforce_consumer_deletion"]))

    # ---- S3

    def aws_s3_bucket(self, state):
        region = state.get("region") or REGION
        self.client("s3", region).create_bucket(Bucket=state["bucket"], CreateBucketConfiguration={"LocationConstraint": region})
        return {"arn": f"arn:aws:s3:::{state['bucket']}", "id": state["bucket"], "region": region}

    def no_aws_s3_bucket(self, state):
        s3 = self.client("s3", state["region"])
        if state.get("force_destroy"):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=state["bucket"]):
                for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                    s3.delete_object(Bucket=state["bucket"], Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=state["bucket"])

    def aws_s3_bucket_versioning(self, state):
        status = {"Status": first(state["versioning_configuration"])["status"]}
        self.client("s3", state["region"]).put_bucket_versioning(Bucket=state["bucket"], VersioningConfiguration=status)
        return {"id": state["bucket"]}

    def aws_s3_bucket_public_access_block(self, state):
        names = {"block_public_acls": "BlockPublicAcls", "ignore_public_acls": "IgnorePublicAcls",
                 "block_public_policy": "BlockPublicPolicy", "restrict_public_buckets": "RestrictPublicBuckets"}
        access = {name: bool(state[key]) for key, name in names.items()}
        self.client("s3", state["region"]).put_public_access_block(Bucket=state["bucket"], PublicAccessBlockConfiguration=access)

    def aws_s3_bucket_policy(self, state):
        self.client("s3", state["region"]).put_bucket_policy(Bucket=state["bucket"], Policy=state["policy"])

    def aws_s3_bucket_server_side_encryption_configuration(self, state):
        rules = []
        for rule in state["rule"]:
            given = first(rule["apply_server_side_encryption_by_default"])
            default = {"SSEAlgorithm": given["sse_algorithm"]}
            if given.get("kms_master_key_id"):
                default["KMSMasterKeyID"] = given["kms_master_key_id"]
            rules.append({"BucketKeyEnabled": bool(rule.get("bucket_key_enabled")), "ApplyServerSideEncryptionByDefault": default})
        configuration = {"Rules": rules}
        self.client("s3", state["region"]).put_bucket_encryption(Bucket=state["bucket"], ServerSideEncryptionConfiguration=configuration)

    def aws_s3_bucket_lifecycle_configuration(self, state):
        rules = []
        for rule in state["rule"]:
            made = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": first(rule["filter"]).get("prefix") or ""}}
            if rule.get("transition"):
                made["Transitions"] = [{"Days": int(one["days"]), "StorageClass": one["storage_class"]} for one in rule["transition"]]
            if rule.get("expiration"):
                made["Expiration"] = {"Days": int(first(rule["expiration"])["days"])}
            if rule.get("noncurrent_version_expiration"):
                days = int(first(rule["noncurrent_version_expiration"])["noncurrent_days"])
                made["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
            if rule.get("abort_incomplete_multipart_upload"):
                days = int(first(rule["abort_incomplete_multipart_upload"])["days_after_initiation"])
                made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
            rules.append(made)
        configuration = {"Rules": rules}
        self.client("s3", state["region"]).put_bucket_lifecycle_configuration(Bucket=state["bucket"], LifecycleConfiguration=configuration)

    def aws_s3_bucket_replication_configuration(self, state):
        rules = []
        for number, rule in enumerate(state["rule"]):
            to = first(rule["destination"])
            key = first(to["encryption_configuration"])["replica_kms_key_id"]
            rules.append({
                "ID": rule["id"], "Status": rule["status"], "Priority": number, "Filter": {"Prefix": first(rule["filter"])["prefix"]},
                "DeleteMarkerReplication": {"Status": first(rule["delete_marker_replication"])["status"]},
                "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}},
                "Destination": {
                    "Bucket": to["bucket"], "StorageClass": to["storage_class"], "EncryptionConfiguration": {"ReplicaKmsKeyID": key},
                },
            })
        configuration = {"Role": state["role"], "Rules": rules}
        self.client("s3").put_bucket_replication(Bucket=state["bucket"], ReplicationConfiguration=configuration)

    def no_aws_s3_bucket_replication_configuration(self, state):
        self.client("s3").delete_bucket_replication(Bucket=state["bucket"])

    def aws_s3_bucket_notification(self, state):
        configuration = {"EventBridgeConfiguration": {}} if state.get("eventbridge") else {}
        self.client("s3").put_bucket_notification_configuration(Bucket=state["bucket"], NotificationConfiguration=configuration)

    # ---- IAM

    def aws_iam_role(self, state):
        role = self.client("iam").create_role(RoleName=state["name"], AssumeRolePolicyDocument=state["assume_role_policy"])["Role"]
        return {"arn": role["Arn"], "id": state["name"]}

    def no_aws_iam_role(self, state):
        self.client("iam").delete_role(RoleName=state["name"])

    def aws_iam_role_policy(self, state):
        self.client("iam").put_role_policy(RoleName=state["role"], PolicyName=state["name"], PolicyDocument=state["policy"])
        return {"id": f"{state['role']}:{state['name']}"}

    def no_aws_iam_role_policy(self, state):
        self.client("iam").delete_role_policy(RoleName=state["role"], PolicyName=state["name"])

    # ---- Glue

    def aws_glue_catalog_database(self, state):
        self.client("glue").create_database(DatabaseInput={"Name": state["name"], "Description": state.get("description") or ""})
        return {"id": f"000000000000:{state['name']}"}

    def no_aws_glue_catalog_database(self, state):
        self.client("glue").delete_database(Name=state["name"])

    def table_input(self, state) -> dict:
        storage = first(state["storage_descriptor"])
        serde = first(storage["ser_de_info"]).get("serialization_library")

        def columns(blocks):
            return [{"Name": one["name"], "Type": one["type"], "Comment": one.get("comment") or ""} for one in blocks or []]

        made = {
            "Name": state["name"], "TableType": state["table_type"], "Parameters": state["parameters"],
            "PartitionKeys": columns(state.get("partition_keys")),
            "StorageDescriptor": {
                "Columns": columns(storage["columns"]), "Location": storage.get("location") or "",
                "InputFormat": storage.get("input_format") or "", "OutputFormat": storage.get("output_format") or "",
                "SerdeInfo": {"SerializationLibrary": serde} if serde else {},
            },
        }
        if state.get("view_original_text"):
            made |= {"ViewOriginalText": state["view_original_text"], "ViewExpandedText": state["view_expanded_text"]}
        return made

    def aws_glue_catalog_table(self, state):
        glue, table = self.client("glue"), self.table_input(state)
        if state.get("id"):
            glue.update_table(DatabaseName=state["database_name"], TableInput=table)
        else:
            glue.create_table(DatabaseName=state["database_name"], TableInput=table)
        return {"id": f"000000000000:{state['database_name']}:{state['name']}"}

    def no_aws_glue_catalog_table(self, state):
        self.client("glue").delete_table(DatabaseName=state["database_name"], Name=state["name"])

    # ---- Firehose

    def aws_kinesis_firehose_delivery_stream(self, state):
        given = first(state["extended_s3_configuration"])
        to = {
            "RoleARN": given["role_arn"], "BucketARN": given["bucket_arn"], "Prefix": given["prefix"],
            "ErrorOutputPrefix": given["error_output_prefix"], "CompressionFormat": given["compression_format"],
            "BufferingHints": {"SizeInMBs": int(given["buffering_size"]), "IntervalInSeconds": int(given["buffering_interval"])},
            "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": given["kms_key_arn"]}},
        }
        for dynamic in given["dynamic_partitioning_configuration"]:
            retry = {"DurationInSeconds": int(dynamic["retry_duration"])}
            to["DynamicPartitioningConfiguration"] = {"Enabled": dynamic["enabled"], "RetryOptions": retry}
        for processing in given["processing_configuration"]:
            to["ProcessingConfiguration"] = {
                "Enabled": processing["enabled"],
                "Processors": [
                    {"Type": one["type"], "Parameters": [
                        {"ParameterName": pair["parameter_name"], "ParameterValue": pair["parameter_value"]} for pair in one["parameters"]
                    ]}
                    for one in processing["processors"]
                ],
            }
        for conversion in given["data_format_conversion_configuration"]:
            schema = first(conversion["schema_configuration"])
            serializer = first(first(first(conversion["output_format_configuration"])["serializer"])["parquet_ser_de"])
            to["DataFormatConversionConfiguration"] = {
                "Enabled": True,
                "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
                "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": serializer["compression"]}}},
                "SchemaConfiguration": {
                    "RoleARN": schema["role_arn"], "CatalogId": schema["catalog_id"], "Region": schema["region"],
                    "DatabaseName": schema["database_name"], "TableName": schema["table_name"], "VersionId": "LATEST",
                },
            }
        source = {"DeliveryStreamType": "DirectPut"}
        for stream in state["kinesis_source_configuration"]:
            about = {"KinesisStreamARN": stream["kinesis_stream_arn"], "RoleARN": stream["role_arn"]}
            source = {"DeliveryStreamType": "KinesisStreamAsSource", "KinesisStreamSourceConfiguration": about}
        made = self.client("firehose").create_delivery_stream(
            DeliveryStreamName=state["name"], ExtendedS3DestinationConfiguration=to, **source
        )
        return {"arn": made["DeliveryStreamARN"], "id": made["DeliveryStreamARN"]}

    def no_aws_kinesis_firehose_delivery_stream(self, state):
        self.client("firehose").delete_delivery_stream(DeliveryStreamName=state["name"])

    # ---- Athena

    def aws_athena_workgroup(self, state):
        given = first(state["configuration"])
        result = first(given["result_configuration"])
        encryption = first(result["encryption_configuration"])
        configuration = {
            "EnforceWorkGroupConfiguration": bool(given["enforce_workgroup_configuration"]),
            "BytesScannedCutoffPerQuery": int(given["bytes_scanned_cutoff_per_query"]),
            "ResultConfiguration": {
                "OutputLocation": result["output_location"],
                "EncryptionConfiguration": {"EncryptionOption": encryption["encryption_option"], "KmsKey": encryption["kms_key_arn"]},
            },
        }
        self.client("athena").create_work_group(Name=state["name"], Configuration=configuration)
        return {"id": state["name"]}

    def no_aws_athena_workgroup(self, state):
        self.client("athena").delete_work_group(WorkGroup=state["name"], RecursiveDeleteOption=bool(state["force_destroy"]))

    def aws_athena_named_query(self, state):
        made = self.client("athena").create_named_query(
            Name=state["name"], Database=state["database"], QueryString=state["query"], WorkGroup=state["workgroup"]
        )
        return {"id": made["NamedQueryId"]}

    def no_aws_athena_named_query(self, state):
        self.client("athena").delete_named_query(NamedQueryId=state["id"])

    # ---- who watches

    def aws_sns_topic(self, state):
        topic = self.client("sns").create_topic(Name=state["name"], Attributes={"KmsMasterKeyId": state["kms_master_key_id"]})
        return {"arn": topic["TopicArn"], "id": topic["TopicArn"]}

    def no_aws_sns_topic(self, state):
        self.client("sns").delete_topic(TopicArn=state["arn"])

    def aws_sns_topic_policy(self, state):
        self.client("sns").set_topic_attributes(TopicArn=state["arn"], AttributeName="Policy", AttributeValue=state["policy"])

    def aws_cloudwatch_event_rule(self, state):
        rule = self.client("events").put_rule(Name=state["name"], EventPattern=state["event_pattern"], State="ENABLED")
        return {"arn": rule["RuleArn"], "id": state["name"]}

    def no_aws_cloudwatch_event_rule(self, state):
        self.client("events").delete_rule(Name=state["name"])

    def aws_cloudwatch_event_target(self, state):
        target = {"Id": "notices", "Arn": state["arn"]}
        for given in state["input_transformer"]:
            target["InputTransformer"] = {"InputPathsMap": given["input_paths"], "InputTemplate": given["input_template"]}
        failed = self.client("events").put_targets(Rule=state["rule"], Targets=[target])
        assert failed["FailedEntryCount"] == 0, failed
        return {"id": f"{state['rule']}-notices", "target_id": "notices"}

    def no_aws_cloudwatch_event_target(self, state):
        self.client("events").remove_targets(Rule=state["rule"], Ids=["notices"])

    def aws_cloudwatch_log_group(self, state):
        self.client("logs").create_log_group(logGroupName=state["name"], kmsKeyId=state["kms_key_id"])
        return {"id": state["name"], "arn": f"arn:aws:logs:{REGION}:000000000000:log-group:{state['name']}"}

    def no_aws_cloudwatch_log_group(self, state):
        self.client("logs").delete_log_group(logGroupName=state["name"])

    def aws_cloudwatch_metric_alarm(self, state):
        names = {"threshold": "Threshold", "comparison_operator": "ComparisonOperator", "statistic": "Statistic", "metric_name": "MetricName",
                 "namespace": "Namespace", "treat_missing_data": "TreatMissingData", "extended_statistic": "ExtendedStatistic"}
        about = {name: state[key] for key, name in names.items() if state.get(key) is not None}
        if "Threshold" in about:
            about["Threshold"] = float(about["Threshold"])
        numbers = {"period": "Period", "evaluation_periods": "EvaluationPeriods", "datapoints_to_alarm": "DatapointsToAlarm"}
        about |= {name: int(state[key]) for key, name in numbers.items() if state.get(key)}
        if state.get("dimensions"):
            about["Dimensions"] = [{"Name": key, "Value": value} for key, value in state["dimensions"].items()]
        queries = []
        for query in state.get("metric_query") or []:
            made = {"Id": query["id"], "ReturnData": bool(query.get("return_data"))}
            if query.get("expression"):
                made["Expression"] = query["expression"]
            for metric in query["metric"]:
                dimensions = [{"Name": key, "Value": value} for key, value in (metric.get("dimensions") or {}).items()]
                named = {"Namespace": metric["namespace"], "MetricName": metric["metric_name"], "Dimensions": dimensions}
                made["MetricStat"] = {"Metric": named, "Period": int(metric["period"]), "Stat": metric["stat"]}
            queries.append(made)
        if queries:
            about["Metrics"] = queries
        self.client("cloudwatch").put_metric_alarm(
            AlarmName=state["alarm_name"], AlarmActions=list(state.get("alarm_actions") or []), **about
        )
        return {"id": state["alarm_name"]}

    def no_aws_cloudwatch_metric_alarm(self, state):
        self.client("cloudwatch").delete_alarms(AlarmNames=[state["alarm_name"]])

    # ---- what is there

    def everything(self) -> list[str]:
        """The name of each thing that is there, in both regions; keys that wait for their deletion are not."""
        found = []
        for region in (REGION, "eu-central-1"):
            client = lambda service: self.client(service, region)  # noqa: E731
            kms = client("kms")
            keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
            found += [f"key {key['Arn']}" for key in keys if key["KeyState"] == "Enabled" and key["KeyManager"] == "CUSTOMER"]
            found += [f"stream {name}" for name in client("kinesis").list_streams()["StreamNames"]]
            found += [f"delivery {name}" for name in client("firehose").list_delivery_streams()["DeliveryStreamNames"]]
            found += [f"database {one['Name']}" for one in client("glue").get_databases()["DatabaseList"] if one["Name"] != "default"]
            found += [f"workgroup {one['Name']}" for one in client("athena").list_work_groups()["WorkGroups"] if one["Name"] != "primary"]
            found += [f"rule {one['Name']}" for one in client("events").list_rules()["Rules"]]
            found += [f"topic {one['TopicArn']}" for one in client("sns").list_topics()["Topics"]]
            found += [f"log group {one['logGroupName']}" for one in client("logs").describe_log_groups()["logGroups"]]
            found += [f"alarm {one['AlarmName']}" for one in client("cloudwatch").describe_alarms()["MetricAlarms"]]
        found += [f"bucket {one['Name']}" for one in self.client("s3").list_buckets()["Buckets"]]
        found += [f"role {one['RoleName']}" for one in self.client("iam").list_roles()["Roles"]]
        return found


# Making it again changes it.
UPDATED = {
    "aws_glue_catalog_table", "aws_iam_role_policy", "aws_cloudwatch_metric_alarm", "aws_s3_bucket_policy", "aws_sns_topic_policy",
    "aws_s3_bucket_lifecycle_configuration", "aws_cloudwatch_event_rule",
}
