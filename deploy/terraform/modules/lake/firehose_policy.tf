# What Firehose may do, action by action. Each delivery stream has a role of its own.

resource "aws_iam_role" "firehose" {
  for_each           = local.deliveries
  name               = "${each.value}-firehose"
  assume_role_policy = data.aws_iam_policy_document.trust["firehose"].json
}

resource "aws_iam_role_policy" "firehose" {
  for_each = local.deliveries
  name     = "deliver"
  role     = aws_iam_role.firehose[each.key].id
  policy   = data.aws_iam_policy_document.firehose[each.key].json
}

data "aws_iam_policy_document" "firehose" {
  for_each = local.deliveries

  dynamic "statement" {
    for_each = local.has_stream ? [aws_kinesis_stream.this[each.key].arn] : []
    content {
      sid       = "ReadTheStream"
      actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
      resources = [statement.value]
    }
  }
  dynamic "statement" {
    for_each = local.has_stream ? [aws_kms_key.lake.arn] : []
    content {
      sid       = "OpenTheStream"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["kinesis.${local.region}.amazonaws.com"]
      }
    }
  }
  statement {
    sid       = "FindTheBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.lake.arn]
  }
  statement {
    sid     = "WriteFiles"
    actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = [
      "${aws_s3_bucket.lake.arn}/${each.key == "events" ? "events" : "dead-letters"}/*",
      "${aws_s3_bucket.lake.arn}/errors/*",
    ]
  }
  statement {
    sid       = "EncryptFiles"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]
    }
  }
  dynamic "statement" {
    for_each = each.key == "events" ? [local.table] : []
    content {
      sid     = "ReadTheTable"
      actions = ["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"]
      resources = [
        "arn:${local.partition}:glue:${local.region}:${local.account}:catalog",
        "arn:${local.partition}:glue:${local.region}:${local.account}:database/${aws_glue_catalog_database.lake.name}",
        "arn:${local.partition}:glue:${local.region}:${local.account}:table/${aws_glue_catalog_database.lake.name}/${statement.value}",
      ]
    }
  }
  statement {
    sid       = "WriteItsLog"
    actions   = ["logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.firehose[each.key].arn}:log-stream:*"]
  }
}
