# The load balancer in front of the gateways: it ends TLS, and forwards to a gateway that says it is ready.

data "aws_subnet" "this" {
  for_each = toset(var.subnet_ids)
  id       = each.value
}

data "aws_region" "current" {}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "HTTPS from senders"
  vpc_id      = var.vpc_id
}

resource "aws_security_group" "gateway" {
  name        = "${var.name}-gateway"
  description = "Events from the load balancer"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  security_group_id = aws_security_group.balancer.id
  description       = "HTTPS from senders"
  cidr_ipv4         = var.internal ? data.aws_vpc.this.cidr_block : "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "to_gateway" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Events to the gateways"
  referenced_security_group_id = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = 8443
  to_port                      = 8443
}

resource "aws_vpc_security_group_ingress_rule" "from_balancer" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "Events from the load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 8443
  to_port                      = 8443
}

# AWS APIs, the registry of images: all over HTTPS.
resource "aws_vpc_security_group_egress_rule" "to_aws" {
  security_group_id = aws_security_group.gateway.id
  description       = "AWS over HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91:access logs repeat what the gateway's own access log says, and hold the addresses of visitors
  name               = var.name
  load_balancer_type = "application"
  internal           = var.internal
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.balancer.id]
  # Below http.idle_timeout_seconds (75): who closes first loses no request.
  idle_timeout               = 60
  client_keep_alive          = 3600
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.protected

  lifecycle {
    precondition {
      condition     = length(distinct([for subnet in data.aws_subnet.this : subnet.availability_zone])) >= 2
      error_message = "A load balancer needs subnets in two zones at least."
    }
    precondition {
      condition     = can(regex("^arn:[a-z-]+:acm:${data.aws_region.current.region}:[0-9]+:certificate/", var.certificate_arn))
      error_message = "The certificate is not one of ACM in the region ${data.aws_region.current.region}."
    }
    precondition {
      condition     = length(var.name) <= 32
      error_message = "The name of a load balancer has at most 32 characters."
    }
  }
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:TLS ends at the balancer; from there to the gateway the events stay in the VPC
  name                 = var.name
  vpc_id               = var.vpc_id
  target_type          = var.target_type
  protocol             = "HTTP"
  port                 = 8443
  deregistration_delay = 30
  # A gateway that stops fails this check first, and serves on for stop.lame_duck_seconds.
  health_check {
    path                = "/readyz"
    interval            = 5
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 2
    matcher             = "200"
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count        = var.web_acl_arn == null ? 0 : 1
  resource_arn = aws_lb.this.arn
  web_acl_arn  = var.web_acl_arn
}
