# What a gateway may do, action by action. The modules of the gateways give it to their roles.

data "aws_iam_policy_document" "gateway" {
  dynamic "statement" {
    for_each = local.has_stream ? [1] : []
    content {
      sid       = "PutIntoTheStreams"
      actions   = ["kinesis:ListShards", "kinesis:PutRecords"]
      resources = [for stream in aws_kinesis_stream.this : stream.arn]
    }
  }
  dynamic "statement" {
    for_each = local.has_stream ? [1] : []
    content {
      sid       = "EncryptRecords"
      actions   = ["kms:GenerateDataKey"]
      resources = [aws_kms_key.lake.arn]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["kinesis.${local.region}.amazonaws.com"]
      }
    }
  }
  # Firehose encrypts with a grant of its own.
  dynamic "statement" {
    for_each = var.ingest == "firehose" ? [1] : []
    content {
      sid     = "PutIntoFirehose"
      actions = ["firehose:DescribeDeliveryStream", "firehose:PutRecordBatch"]
      resources = concat(
        [for stream in aws_kinesis_firehose_delivery_stream.events : stream.arn],
        [for stream in aws_kinesis_firehose_delivery_stream.dead_letters : stream.arn],
      )
    }
  }
  dynamic "statement" {
    for_each = var.ingest == "s3" ? [1] : []
    content {
      sid       = "FindFiles"
      actions   = ["s3:ListBucket"]
      resources = [aws_s3_bucket.lake.arn]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = ["events/*", "events-typed/*"]
      }
    }
  }
  dynamic "statement" {
    for_each = var.ingest == "s3" ? [1] : []
    content {
      sid     = "WriteFiles"
      actions = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
      # Typed tables too (`lake.typed.enabled`, off at first): an erasure must reach them.
      resources = ["${aws_s3_bucket.lake.arn}/events/*", "${aws_s3_bucket.lake.arn}/events-typed/*"]
    }
  }
  dynamic "statement" {
    for_each = var.ingest == "s3" ? [1] : []
    content {
      sid       = "EncryptFiles"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [aws_kms_key.lake.arn]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.amazonaws.com"]
      }
    }
  }
}
