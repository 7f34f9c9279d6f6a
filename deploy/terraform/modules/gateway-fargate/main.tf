# Gateways on Fargate. The disk of a task ends with the task, so an event is acknowledged only when the stream has it.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  partition = data.aws_partition.current.partition
  # Put there before the first task starts: docs/aws.md.
  keys_parameter = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter/${var.name}/keys"
  repository     = try(regex("^([0-9]{12})\\.dkr\\.ecr\\.([a-z0-9-]+)\\.amazonaws\\.com/([^:@]+)", var.gateway.image), null)

  # SIGTERM: serve on, finish the requests, drain. ECS kills a task after 120 seconds.
  stop = { lame_duck = 20, requests = 30, drain = 60, limit = 120 }

  environment = merge(
    var.environment,
    {
      LAKEGATE__HTTP__PLAINTEXT         = "true"
      LAKEGATE__HTTP__DURABILITY        = "delivered"
      LAKEGATE__ADMIN__LISTEN           = "127.0.0.1:9090"
      LAKEGATE__PROXY__TRUSTED          = jsonencode([module.balancer.vpc_cidr])
      LAKEGATE__STOP__LAME_DUCK_SECONDS = tostring(local.stop.lame_duck)
      LAKEGATE__STOP__REQUESTS_SECONDS  = tostring(local.stop.requests)
      LAKEGATE__STOP__DRAIN_SECONDS     = tostring(local.stop.drain)
    },
    var.gateway.environment,
  )

  # Fargate's sizes: MiB of memory by CPU units.
  memory = {
    256  = [512, 1024, 2048]
    512  = range(1024, 4097, 1024)
    1024 = range(2048, 8193, 1024)
    2048 = range(4096, 16385, 1024)
    4096 = range(8192, 30721, 1024)
  }

  containers = [
    {
      name                   = "lakegate"
      image                  = var.gateway.image
      essential              = true
      readonlyRootFilesystem = true
      user                   = "65532:65532"
      stopTimeout            = local.stop.limit
      portMappings           = [{ containerPort = 8443, protocol = "tcp" }]
      mountPoints            = [{ sourceVolume = "data", containerPath = "/var/lib/lakegate" }]
      environment            = [for name, value in local.environment : { name = name, value = value }]
      secrets                = [{ name = "LAKEGATE__KEYS", valueFrom = local.keys_parameter }]
      ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
      # ECS does not use the health check of the image.
      healthCheck = {
        command     = ["CMD", "/usr/bin/lakegate", "health", "--live"]
        interval    = 10
        timeout     = 6
        retries     = 3
        startPeriod = 30
      }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.gateway.name
          awslogs-region        = local.region
          awslogs-stream-prefix = "gateway"
          mode                  = "non-blocking"
        }
      }
    },
    {
      name                   = "metrics"
      image                  = "public.ecr.aws/cloudwatch-agent/cloudwatch-agent:1.300059.0b1207"
      essential              = false
      readonlyRootFilesystem = false
      environment = [
        { name = "CW_CONFIG_CONTENT", value = var.metrics.agent },
        { name = "PROMETHEUS_CONFIG_CONTENT", value = var.metrics.prometheus },
      ]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.gateway.name
          awslogs-region        = local.region
          awslogs-stream-prefix = "metrics"
        }
      }
    },
  ]
}

module "balancer" {
  source          = "../balancer"
  name            = var.name
  vpc_id          = var.gateway.vpc_id
  subnet_ids      = coalesce(var.gateway.balancer_subnet_ids, var.gateway.subnet_ids)
  certificate_arn = var.gateway.certificate_arn
  target_type     = "ip"
  internal        = var.gateway.internal
  web_acl_arn     = var.gateway.web_acl_arn
  protected       = var.protected
}

resource "aws_cloudwatch_log_group" "gateway" {
  # checkov:skip=CKV_AWS_338:a log of operation, which may name visitors: 30 days; what has to last is in the lake
  name              = "/lakegate/${var.name}"
  retention_in_days = 30
  kms_key_id        = var.key_arn
}

resource "aws_cloudwatch_log_group" "metrics" {
  # checkov:skip=CKV_AWS_338:CloudWatch has taken the metrics out of these lines when they come; nobody reads them later
  name              = "/lakegate/${var.name}/metrics"
  retention_in_days = 1
  kms_key_id        = var.key_arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.gateway.cpu
  memory                   = var.gateway.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode(local.containers)

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }
  ephemeral_storage {
    size_in_gib = 30
  }
  volume {
    name = "data"
  }

  lifecycle {
    precondition {
      condition     = contains(lookup(local.memory, var.gateway.cpu, []), var.gateway.memory)
      error_message = "Fargate has no size of ${var.gateway.cpu} CPU units with ${var.gateway.memory} MiB."
    }
    precondition {
      condition     = sum([for part in ["LAME_DUCK", "REQUESTS", "DRAIN"] : tonumber(local.environment["LAKEGATE__STOP__${part}_SECONDS"])]) < local.stop.limit && local.stop.limit <= 120
      error_message = "Lame duck, requests and drain are together longer than the time after which ECS kills the task, 120 seconds at most."
    }
    precondition {
      condition     = local.environment["LAKEGATE__HTTP__DURABILITY"] == "delivered"
      error_message = "On Fargate http.durability is delivered: the disk of a task ends with the task, and what was acknowledged on it would be lost."
    }
    precondition {
      condition     = !endswith(var.gateway.image, ":latest") && can(regex("[:@][^/]+$", var.gateway.image))
      error_message = "gateway.image needs a tag of a release, or a digest: with :latest, a task that is replaced could run another version."
    }
  }
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this.arn
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  desired_count                      = var.gateway.tasks_min
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = 60
  propagate_tags                     = "SERVICE"
  # The target group takes tasks once a listener uses it.
  depends_on = [module.balancer, aws_iam_role_policy.execution, aws_iam_role_policy.task]

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    # checkov:skip=CKV_AWS_333:without a public address the tasks need a NAT gateway or endpoints; only the balancer may open connections to them
    subnets          = var.gateway.subnet_ids
    security_groups  = [module.balancer.gateway_security_group_id]
    assign_public_ip = var.gateway.public_ip
  }
  load_balancer {
    target_group_arn = module.balancer.target_group_arn
    container_name   = "lakegate"
    container_port   = 8443
  }
  lifecycle {
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.gateway.tasks_min
  max_capacity       = var.gateway.tasks_max

  lifecycle {
    precondition {
      condition     = var.gateway.tasks_min >= 1 && var.gateway.tasks_min <= var.gateway.tasks_max
      error_message = "tasks_min is from 1 to tasks_max."
    }
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_in_cooldown  = 300
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# A task whose program ended by itself: what Prometheus calls LakegateRestarts.
resource "aws_cloudwatch_event_rule" "restarts" {
  name        = "${var.name}-restarts"
  description = "A gateway ended by itself"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.this.arn]
      lastStatus = ["STOPPED"]
      stopCode   = ["EssentialContainerExited"]
    }
  })
}

resource "aws_cloudwatch_event_target" "restarts" {
  rule = aws_cloudwatch_event_rule.restarts.name
  arn  = var.notices
  input_transformer {
    input_paths    = { task = "$.detail.taskArn", reason = "$.detail.stoppedReason" }
    input_template = "\"LakegateRestarts: <task> ended by itself: <reason>\""
  }
}
