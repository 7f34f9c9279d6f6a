# Each file below errors/ is a notice: S3 tells EventBridge, and EventBridge tells the topic.

resource "aws_s3_bucket_notification" "lake" {
  bucket      = aws_s3_bucket.lake.id
  eventbridge = true
}

resource "aws_cloudwatch_event_rule" "errors" {
  name        = "${var.name}-errors"
  description = "Firehose could not convert an event, and wrote it below errors/"
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [aws_s3_bucket.lake.bucket] }
      object = { key = [{ prefix = "errors/" }] }
    }
  })

  lifecycle {
    precondition {
      condition     = startswith(local.error_prefix, "errors/")
      error_message = "The rule watches errors/, and Firehose writes elsewhere."
    }
  }
}

resource "aws_cloudwatch_event_target" "errors" {
  rule       = aws_cloudwatch_event_rule.errors.name
  arn        = aws_sns_topic.notices.arn
  depends_on = [aws_sns_topic_policy.notices]

  input_transformer {
    input_paths    = { bucket = "$.detail.bucket.name", key = "$.detail.object.key" }
    input_template = "\"LakegateErrorPartition: Firehose could not convert events. They are whole in s3://<bucket>/<key>\""
  }
}

resource "aws_sns_topic" "notices" {
  name              = "${var.name}-notices"
  kms_master_key_id = aws_kms_key.lake.arn
}

resource "aws_sns_topic_subscription" "notices" {
  for_each  = toset(var.emails)
  topic_arn = aws_sns_topic.notices.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_sns_topic_policy" "notices" {
  arn    = aws_sns_topic.notices.arn
  policy = data.aws_iam_policy_document.notices.json
}

data "aws_iam_policy_document" "notices" {
  # Without a condition, as in the policy of the key.
  statement {
    sid       = "PublishFromEventBridge"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
  statement {
    sid       = "Publish"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "OnlyTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
