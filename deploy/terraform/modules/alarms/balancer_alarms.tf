# What senders see, from the balancer, which also sees what no gateway answered.

resource "aws_cloudwatch_metric_alarm" "fails_requests" {
  count               = var.gateways == null ? 0 : 1
  alarm_name          = "${var.name}-LakegateFailsRequests"
  alarm_description   = var.descriptions["LakegateFailsRequests"]
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0.01
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]

  metric_query {
    id          = "share"
    expression  = "(FILL(target, 0) + FILL(balancer, 0)) / requests"
    label       = "Share of requests answered with 5xx"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { target = "HTTPCode_Target_5XX_Count", balancer = "HTTPCode_ELB_5XX_Count", requests = "RequestCount" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        dimensions  = { LoadBalancer = var.gateways.dimensions.LoadBalancer }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "slow" {
  count               = var.gateways == null ? 0 : 1
  alarm_name          = "${var.name}-LakegateSlow"
  alarm_description   = var.descriptions["LakegateSlow"]
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  dimensions          = { LoadBalancer = var.gateways.dimensions.LoadBalancer }
  extended_statistic  = "p99"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 10
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]
}

resource "aws_cloudwatch_metric_alarm" "few_gateways" {
  count               = var.gateways == null ? 0 : 1
  alarm_name          = "${var.name}-LakegateFewGateways"
  alarm_description   = "Fewer gateways are healthy than there should be. docs/aws.md, When something is gone, says what to do."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = var.gateways.dimensions
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = var.gateways.count
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "breaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]
}
