# Gateways on EC2, one in each zone. The disk outlives the instance: the next instance of the zone attaches it again.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

data "aws_subnet" "this" {
  for_each = toset(var.gateway.subnet_ids)
  id       = each.value
}

locals {
  account        = data.aws_caller_identity.current.account_id
  region         = data.aws_region.current.region
  partition      = data.aws_partition.current.partition
  keys_parameter = "/${var.name}/keys"
  zones          = { for id, subnet in data.aws_subnet.this : subnet.availability_zone => id... }

  environment = merge(
    var.environment,
    {
      LAKEGATE__HTTP__LISTEN            = "0.0.0.0:8443"
      LAKEGATE__HTTP__PLAINTEXT         = "true"
      LAKEGATE__PROXY__TRUSTED          = jsonencode([module.balancer.vpc_cidr])
      LAKEGATE__SCHEMAS__DIR            = "/usr/share/lakegate/schemas"
      LAKEGATE__STOP__LAME_DUCK_SECONDS = "20"
      LAKEGATE__STOP__DRAIN_SECONDS     = "60"
    },
    var.gateway.environment,
  )
}

module "balancer" {
  source          = "../balancer"
  name            = var.name
  vpc_id          = var.gateway.vpc_id
  subnet_ids      = coalesce(var.gateway.balancer_subnet_ids, var.gateway.subnet_ids)
  certificate_arn = var.gateway.certificate_arn
  target_type     = "instance"
  internal        = var.gateway.internal
  web_acl_arn     = var.gateway.web_acl_arn
  protected       = var.protected
}

resource "aws_cloudwatch_log_group" "metrics" {
  # checkov:skip=CKV_AWS_338:CloudWatch has taken the metrics out of these lines when they come; nobody reads them later
  name              = "/lakegate/${var.name}/metrics"
  retention_in_days = 1
  kms_key_id        = var.key_arn
}

resource "aws_ebs_volume" "data" {
  for_each          = local.zones
  availability_zone = each.key
  size              = var.gateway.disk_gib
  type              = "gp3"
  encrypted         = true
  kms_key_id        = var.key_arn
  final_snapshot    = var.protected
  tags              = { Name = "${var.name}-${each.key}", lakegate-data = var.name }
}

resource "aws_launch_template" "this" {
  for_each      = local.zones
  name          = "${var.name}-${each.key}"
  instance_type = var.gateway.instance_type
  image_id      = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.architecture}"
  user_data = base64encode(templatefile("${path.module}/start.sh.tftpl", {
    volume         = aws_ebs_volume.data[each.key].id
    region         = local.region
    release        = var.gateway.release
    keys_parameter = local.keys_parameter
    environment    = local.environment
    metrics        = var.metrics
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  monitoring {
    enabled = true
  }
  network_interfaces {
    # checkov:skip=CKV_AWS_88:without a public address the instances need a NAT gateway or endpoints; only the balancer may open connections to them
    associate_public_ip_address = var.gateway.public_ip
    security_groups             = [module.balancer.gateway_security_group_id]
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type = "gp3"
      encrypted   = true
    }
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-${each.key}", lakegate-data = var.name }
  }

  lifecycle {
    precondition {
      condition     = alltrue([for ids in values(local.zones) : length(ids) == 1])
      error_message = "Two of the subnets are in one zone: the gateway of a zone has one subnet and one disk."
    }
    precondition {
      condition     = can(regex("^[0-9a-f]{64}$", var.gateway.release.sha256))
      error_message = "gateway.release.sha256 is not a SHA-256: take the one beside the tarball of `make dist`."
    }
    precondition {
      condition     = var.gateway.disk_gib >= 16
      error_message = "The spool alone may take 10 GiB: disk_gib is 16 at least."
    }
    precondition {
      condition     = alltrue([for value in values(local.environment) : !can(regex("['\n]", value))])
      error_message = "A value of gateway.environment has a single quote or a line break, which the file of settings of an instance cannot hold."
    }
  }
}

locals {
  # t4g, c7g, m7gd, …
  architecture = can(regex("^[a-z]+[0-9]+g[a-z]*\\.", var.gateway.instance_type)) ? "arm64" : "x86_64"
}

resource "aws_autoscaling_group" "this" {
  for_each                  = local.zones
  name                      = "${var.name}-${each.key}"
  min_size                  = 1
  max_size                  = 1
  vpc_zone_identifier       = each.value
  health_check_type         = "ELB"
  health_check_grace_period = 300
  default_cooldown          = 300
  target_group_arns         = [module.balancer.target_group_arn]

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }
  # No refresh by itself: all zones would be replaced at once. docs/aws.md, Upgrade without loss.
  tag {
    key                 = "Name"
    value               = "${var.name}-${each.key}"
    propagate_at_launch = true
  }
}
