# The CloudWatch agent reads /metrics of the gateway beside it, and sends what the alarms and the dashboard need.

locals {
  prometheus = yamlencode({
    global = { scrape_interval = "60s", scrape_timeout = "10s" }
    scrape_configs = [{
      job_name       = "lakegate"
      static_configs = [{ targets = ["127.0.0.1:9090"], labels = { gateway = var.name } }]
      metric_relabel_configs = [
        { source_labels = ["__name__", "code"], regex = "lakegate_condition;.+", target_label = "kind", replacement = "fault" },
        { source_labels = ["__name__", "code"], regex = "lakegate_condition;(${local.blocking})", target_label = "kind", replacement = "blocking" },
        { source_labels = ["__name__", "code"], regex = "lakegate_condition;stopping", action = "drop" },
      ]
    }]
  })
  # A declaration for each set of labels.
  sets = { for metric, labels in local.labels : join(",", labels[0]) => metric... }
  agent = jsonencode({
    agent = { omit_hostname = true }
    logs = {
      metrics_collected = {
        prometheus = {
          prometheus_config_path = "env:PROMETHEUS_CONFIG_CONTENT"
          log_group_name         = "/lakegate/${var.name}/metrics"
          emf_processor = {
            metric_namespace = "Lakegate"
            metric_declaration = [for labels, metrics in local.sets : {
              source_labels    = ["gateway"]
              label_matcher    = "^${var.name}$"
              dimensions       = [split(",", labels)]
              metric_selectors = [for metric in metrics : "^${metric}$"]
            }]
          }
        }
      }
    }
  })
}

output "metrics" {
  description = "Configuration of the agent beside a gateway."
  value       = { agent = local.agent, prometheus = local.prometheus }
}
