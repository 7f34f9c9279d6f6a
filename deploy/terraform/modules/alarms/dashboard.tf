# One page for the whole way: what came in, what senders saw, what waits, what Firehose wrote.

locals {
  own = [for row in [
    ["Events by outcome", "Sum", [for outcome in ["accepted", "duplicate", "rejected", "retry"] : ["Lakegate", "lakegate_events_total", "gateway", var.name, "outcome", outcome]]],
    ["Ready, sink up", "Minimum", [["Lakegate", "lakegate_ready", "gateway", var.name], ["Lakegate", "lakegate_sink_up", "gateway", var.name]]],
    ["Bytes in the spool", "Maximum", [["Lakegate", "lakegate_spool_bytes", "gateway", var.name], ["Lakegate", "lakegate_spool_quota_bytes", "gateway", var.name]]],
    ["Age of the oldest undelivered event, seconds", "Maximum", [["Lakegate", "lakegate_spool_oldest_seconds", "gateway", var.name]]],
  ] : { title = row[0], stat = row[1], metrics = row[2] } if var.gateways != null]
  balancer = var.gateways == null ? [] : [
    { title = "Requests", stat = "Sum", metrics = [for name in ["RequestCount", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] : ["AWS/ApplicationELB", name, "LoadBalancer", var.gateways.dimensions.LoadBalancer]] },
    { title = "Seconds to the answer, p99", stat = "p99", metrics = [["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", var.gateways.dimensions.LoadBalancer]] },
  ]
  streams = length(var.streams) == 0 ? [] : [
    { title = "Stream: records, throttled", stat = "Sum", metrics = [for pair in setproduct(values(var.streams), ["IncomingRecords", "WriteProvisionedThroughputExceeded"]) : ["AWS/Kinesis", pair[1], "StreamName", pair[0]]] },
  ]
  firehose = length(var.deliveries) == 0 ? [] : [
    { title = "Firehose: age of the oldest event, seconds", stat = "Maximum", metrics = [for name in values(var.deliveries) : ["AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", name]] },
    { title = "Firehose: records delivered", stat = "Sum", metrics = [for name in values(var.deliveries) : ["AWS/Firehose", "DeliveryToS3.Records", "DeliveryStreamName", name]] },
  ]
  charts = concat(local.own, local.balancer, local.streams, local.firehose)
}

data "aws_region" "current" {}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for place, chart in local.charts : {
      type   = "metric"
      x      = place % 2 * 12
      y      = floor(place / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = chart.title
        stat    = chart.stat
        period  = 60
        region  = data.aws_region.current.region
        view    = "timeSeries"
        metrics = chart.metrics
      }
    }]
  })
}
