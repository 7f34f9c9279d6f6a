# The alerts of ops/prometheus/alerts.yml under the same names, from the gateway's own metrics. A test holds the names together.

locals {
  # The codes of /readyz with which a gateway takes no events, as in alerts.yml.
  blocking = "spool_failed|part_ended|data_missing|spool_full|disk_full|disk_read_only|spool_missing|dedup_full"

  # One metric: Minimum or Maximum of a gauge, Sum of a counter's increase.
  simple = {
    # Three minutes, because the metric is that of all gateways, and one that stops is not ready for up to two.
    LakegateNotReady             = { metric = "lakegate_ready", stat = "Minimum", below = 1, minutes = 3 }
    LakegateSinkDown             = { metric = "lakegate_sink_up", stat = "Minimum", below = 1, minutes = 5 }
    LakegateDeadLetterSinkDown   = { metric = "lakegate_dead_letters_sink_up", stat = "Minimum", below = 1, minutes = 15 }
    LakegateDedupStoreDown       = { metric = "lakegate_dedup_store_up", stat = "Minimum", below = 1, minutes = 5 }
    LakegateDedupWindowShort     = { metric = "lakegate_dedup_window_seconds", stat = "Minimum", below = 259200, minutes = 15 }
    LakegateDeliveryLags         = { metric = "lakegate_spool_oldest_seconds", stat = "Maximum", above = 900, minutes = 5 }
    LakegateDamagedDedupPages    = { metric = "lakegate_dedup_damaged_pages", stat = "Maximum", above = 0, minutes = 1 }
    LakegateLedgerImbalance      = { metric = "lakegate_ledger_imbalance_events", stat = "Maximum", above = 0, minutes = 5 }
    LakegatePanics               = { metric = "lakegate_panics_total", stat = "Sum", above = 0, minutes = 1 }
    LakegateSchemasRefused       = { metric = "lakegate_schema_reload_failures_total", stat = "Sum", above = 0, minutes = 1 }
    LakegateShardThrottled       = { metric = "lakegate_shard_throttled_records_total", stat = "Sum", above = 0, minutes = 15 }
    LakegateSinkDropsEvents      = { metric = "lakegate_dropped_events_total", stat = "Sum", above = 0, minutes = 1 }
    LakegateSinkRefusesEvents    = { metric = "lakegate_refused_events_total", stat = "Sum", above = 0, minutes = 1 }
    LakegateDeadLettersDiscarded = { metric = "lakegate_discarded_dead_letters_total", stat = "Sum", above = 0, minutes = 1 }
    LakegateBlocked              = { metric = "lakegate_condition", labels = { kind = "blocking" }, stat = "Maximum", above = 0, minutes = 1 }
    LakegateFault                = { metric = "lakegate_condition", labels = { kind = "fault" }, stat = "Maximum", above = 0, minutes = 15 }
    LakegateDeadLettersFull      = { metric = "lakegate_retry_events_total", labels = { code = "dead_letters_full" }, stat = "Sum", above = 0, minutes = 1 }
  }

  # Several metrics: the expression is 1 where the alarm holds.
  combined = {
    LakegateSpoolFills = {
      expression = "IF(a < 3600 OR b / c > 0.8, 1, 0)"
      minutes    = 5
      metrics = {
        a = { metric = "lakegate_spool_headroom_seconds", stat = "Minimum" }
        b = { metric = "lakegate_spool_bytes", stat = "Maximum" }
        c = { metric = "lakegate_spool_quota_bytes", stat = "Minimum" }
      }
    }
    LakegateDescriptorsRunOut = {
      expression = "IF(a / b > 0.8, 1, 0)"
      minutes    = 5
      metrics = {
        a = { metric = "process_open_fds", stat = "Maximum" }
        b = { metric = "process_max_fds", stat = "Minimum" }
      }
    }
    LakegateLostEvents = {
      expression = "IF(FILL(a, 0) + FILL(b, 0) > 0, 1, 0)"
      minutes    = 1
      metrics = {
        a = { metric = "lakegate_spool_lost_events_total", stat = "Sum" }
        b = { metric = "lakegate_dead_letters_spool_lost_events_total", stat = "Sum" }
      }
    }
    # Of all senders together; Prometheus looks at each.
    LakegateRejectsMuch = {
      expression = "IF(a / (a + b + FILL(c, 0) + FILL(d, 0)) > 0.05, 1, 0)"
      minutes    = 15
      metrics = {
        a = { metric = "lakegate_events_total", labels = { outcome = "rejected" }, stat = "Sum" }
        b = { metric = "lakegate_events_total", labels = { outcome = "accepted" }, stat = "Sum" }
        c = { metric = "lakegate_events_total", labels = { outcome = "duplicate" }, stat = "Sum" }
        d = { metric = "lakegate_events_total", labels = { outcome = "retry" }, stat = "Sum" }
      }
    }
    LakegateTelemetryDropped = {
      expression = "IF(FILL(a, 0) + FILL(b, 0) > 0 OR FILL(c, 0) + FILL(d, 0) > 3, 1, 0)"
      minutes    = 15
      metrics = {
        a = { metric = "lakegate_access_log_dropped_lines_total", stat = "Sum" }
        b = { metric = "lakegate_log_dropped_lines_total", stat = "Sum" }
        c = { metric = "lakegate_trace_export_failures_total", stat = "Sum" }
        d = { metric = "lakegate_metric_export_failures_total", stat = "Sum" }
      }
    }
  }

  watched = concat(values(local.simple), flatten([for alarm in local.combined : values(alarm.metrics)]))
  # Which labels each metric keeps; the agent adds up what the other labels tell apart.
  labels = { for metric in local.watched : metric.metric => concat(["gateway"], sort(keys(try(metric.labels, {}))))... }
}

resource "aws_cloudwatch_metric_alarm" "simple" {
  for_each            = { for name, alarm in local.simple : name => alarm if var.gateways != null }
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = var.descriptions[each.key]
  namespace           = "Lakegate"
  metric_name         = each.value.metric
  dimensions          = merge({ gateway = var.name }, try(each.value.labels, {}))
  statistic           = each.value.stat
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.key == "LakegateNotReady" ? "breaching" : "notBreaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]
}

resource "aws_cloudwatch_metric_alarm" "combined" {
  for_each            = { for name, alarm in local.combined : name => alarm if var.gateways != null }
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = var.descriptions[each.key]
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = each.value.minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notices]
  ok_actions          = [var.notices]

  metric_query {
    id          = "holds"
    expression  = each.value.expression
    label       = each.key
    return_data = true
  }
  dynamic "metric_query" {
    for_each = each.value.metrics
    content {
      id = metric_query.key
      metric {
        namespace   = "Lakegate"
        metric_name = metric_query.value.metric
        dimensions  = merge({ gateway = var.name }, try(metric_query.value.labels, {}))
        stat        = metric_query.value.stat
        period      = 60
      }
    }
  }
}
