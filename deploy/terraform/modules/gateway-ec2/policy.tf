# What an instance may do, action by action.

resource "aws_iam_role" "this" {
  name               = "${var.name}-gateway"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_instance_profile" "this" {
  name = "${var.name}-gateway"
  role = aws_iam_role.this.name
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "deliver" {
  name   = "deliver"
  role   = aws_iam_role.this.id
  policy = var.policy
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.start.json
}

data "aws_iam_policy_document" "start" {
  # checkov:skip=CKV_AWS_111:Session Manager has no resources to name
  # checkov:skip=CKV_AWS_356:Session Manager has no resources to name
  statement {
    sid     = "AttachTheDisk"
    actions = ["ec2:AttachVolume"]
    resources = [
      "arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*",
      "arn:${local.partition}:ec2:${local.region}:${local.account}:volume/*",
    ]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/lakegate-data"
      values   = [var.name]
    }
  }
  # An encrypted disk is opened by EC2, with a grant that whoever attaches it gives.
  statement {
    sid       = "OpenTheDisk"
    actions   = ["kms:CreateGrant"]
    resources = [var.key_arn]
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${local.region}.amazonaws.com"]
    }
  }
  statement {
    sid       = "FetchTheRelease"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::${var.gateway.release.bucket}/${var.gateway.release.key}"]
  }
  statement {
    sid       = "ReadTheKeys"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${local.keys_parameter}"]
  }
  statement {
    sid       = "WriteMetrics"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.metrics.arn}:*"]
  }
  # Session Manager in place of SSH: AWS knows no resources here.
  statement {
    sid = "SessionManager"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}
