# The rest of the way: streams, Firehose, the copy, the bill. Prometheus does not see these.

locals {
  stream_alarms = merge([for use, name in var.streams : {
    "LakegateStreamThrottled-${use}" = { namespace = "AWS/Kinesis", metric = "WriteProvisionedThroughputExceeded", stat = "Sum", above = 0, dimensions = { StreamName = name } }
    # An hour: retention is a day at least.
    "LakegateStreamLags-${use}" = { namespace = "AWS/Kinesis", metric = "GetRecords.IteratorAgeMilliseconds", stat = "Maximum", above = 3600000, dimensions = { StreamName = name } }
  }]...)
  firehose_alarms = merge([for use, name in var.deliveries : {
    "LakegateFirehoseLags-${use}"       = { namespace = "AWS/Firehose", metric = "DeliveryToS3.DataFreshness", stat = "Maximum", above = 3 * max(var.buffer_seconds, 300), dimensions = { DeliveryStreamName = name } }
    "LakegateFirehoseThrottled-${use}"  = { namespace = "AWS/Firehose", metric = "ThrottledRecords", stat = "Sum", above = 0, dimensions = { DeliveryStreamName = name } }
    "LakegateFirehoseConversion-${use}" = { namespace = "AWS/Firehose", metric = "FailedConversion.Records", stat = "Sum", above = 0, dimensions = { DeliveryStreamName = name } }
    "LakegatePartitionsExceeded-${use}" = { namespace = "AWS/Firehose", metric = "PartitionCountExceeded", stat = "Maximum", above = 0, dimensions = { DeliveryStreamName = name } }
  }]...)
  copy_alarms = var.copy == null ? {} : {
    LakegateCopyFails = { namespace = "AWS/S3", metric = "OperationsFailedReplication", stat = "Sum", above = 0, dimensions = { SourceBucket = var.bucket, DestinationBucket = var.copy, RuleId = "events" } }
    LakegateCopyLags  = { namespace = "AWS/S3", metric = "ReplicationLatency", stat = "Maximum", above = 3600, dimensions = { SourceBucket = var.bucket, DestinationBucket = var.copy, RuleId = "events" } }
  }
  lake_alarms = merge(local.stream_alarms, local.firehose_alarms, local.copy_alarms)
}

resource "aws_cloudwatch_metric_alarm" "lake" {
  for_each            = local.lake_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "docs/aws.md, Alarms of the lake, says what to do."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.stat
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 300
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]
}

resource "aws_budgets_budget" "this" {
  count        = var.budget_usd == null ? 0 : 1
  name         = var.name
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:environment$%s", element(split("-", var.name), length(split("-", var.name)) - 1))]
  }
  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    notification_type         = "FORECASTED"
    subscriber_sns_topic_arns = [var.notices]
  }
}
