output "gateway_environment" {
  description = "The settings that lead a gateway to this lake."
  value = merge(
    {
      AWS_REGION           = local.region
      LAKEGATE__SINK__KIND = { stream = "kinesis", firehose = "firehose", s3 = "lake" }[var.ingest]
    },
    local.has_stream ? {
      LAKEGATE__KINESIS__STREAM      = aws_kinesis_stream.this["events"].name
      LAKEGATE__KINESIS__FORMAT      = "envelope"
      LAKEGATE__KINESIS__AGGREGATION = "kpl"
      LAKEGATE__DEAD_LETTERS__KIND   = "kinesis"
      LAKEGATE__DEAD_LETTERS__STREAM = aws_kinesis_stream.this["dead_letters"].name
    } : {},
    var.ingest == "firehose" ? {
      LAKEGATE__FIREHOSE__STREAM      = aws_kinesis_firehose_delivery_stream.events["events"].name
      LAKEGATE__FIREHOSE__FORMAT      = "envelope"
      LAKEGATE__FIREHOSE__AGGREGATION = "ndjson"
      LAKEGATE__DEAD_LETTERS__KIND    = "firehose"
      LAKEGATE__DEAD_LETTERS__STREAM  = aws_kinesis_firehose_delivery_stream.dead_letters["dead_letters"].name
    } : {},
    var.ingest == "s3" ? {
      LAKEGATE__LAKE__ROOT      = local.root
      LAKEGATE__LAKE__S3_REGION = local.region
    } : {},
  )
}

output "gateway_policy" {
  description = "What a gateway may do, as JSON."
  value       = data.aws_iam_policy_document.gateway.json
}

output "key_arn" {
  description = "The key that encrypts everything."
  value       = aws_kms_key.lake.arn
}

output "bucket" {
  description = "The bucket of the lake."
  value       = aws_s3_bucket.lake.bucket
}

output "copy" {
  description = "The bucket in the second region, or null."
  value       = one([for bucket in aws_s3_bucket.copy : bucket.bucket])
}

output "database" {
  description = "The database in Glue."
  value       = aws_glue_catalog_database.lake.name
}

output "workgroup" {
  description = "The workgroup in Athena."
  value       = aws_athena_workgroup.lake.name
}

output "notices" {
  description = "The topic that is told of errors and alarms."
  value       = aws_sns_topic.notices.arn
}

output "streams" {
  description = "The Kinesis streams by use: events, dead_letters. Empty without streams."
  value       = { for use, stream in aws_kinesis_stream.this : use => stream.name }
}

output "deliveries" {
  description = "The delivery streams of Firehose by use: events, dead_letters. Empty without Firehose."
  value       = local.deliveries
}

output "firehose_role" {
  description = "The role that converts by the tables, or null."
  value       = try(aws_iam_role.firehose["events"].arn, null)
}
