# Lakegate on AWS: docs/aws.md. Run it by `make -C deploy plan|apply|destroy ENV=dev`.

locals {
  name = "${var.name}-${var.environment}"
  # Written by `make -C deploy catalogue`, and held to the registry by the tests.
  catalogue = jsondecode(file("${path.module}/catalogue.json"))
  # What is to be done at each alert, for the alarms of the same names.
  alerts       = flatten([for group in yamldecode(file("${path.module}/../../ops/prometheus/alerts.yml")).groups : group.rules])
  descriptions = { for rule in local.alerts : rule.alert => rule.annotations.description }
  # The questions of queries/, and the statements of the views that they need: a lake that Firehose writes has no typed tables, so those over JSON. Athena takes one
  # statement at a time.
  queries    = "${path.module}/../../queries"
  questions  = { for file in fileset(local.queries, "*.sql") : trimsuffix(file, ".sql") => file("${local.queries}/${file}") if !startswith(file, "views.") }
  statements = regexall("CREATE OR REPLACE VIEW (\\w+) AS\\n[^;]+", file("${local.queries}/views.json.athena.sql"))
  views = {
    for index, text in regexall("CREATE OR REPLACE VIEW \\w+ AS\\n[^;]+", file("${local.queries}/views.json.athena.sql")) :
    "create_view_${local.statements[index][0]}" => text
  }
}

module "lake" {
  source          = "./modules/lake"
  name            = local.name
  catalogue       = local.catalogue
  queries         = merge(local.questions, local.views)
  ingest          = var.ingest
  shards          = var.shards
  retention_hours = var.retention_hours
  buffer_seconds  = var.buffer_seconds
  replica_region  = var.replica_region
  archive_days    = var.archive_days
  emails          = var.emails
  protected       = var.protected
}

module "alarms" {
  source         = "./modules/alarms"
  name           = local.name
  notices        = module.lake.notices
  descriptions   = local.descriptions
  buffer_seconds = var.buffer_seconds
  streams        = module.lake.streams
  deliveries     = module.lake.deliveries
  bucket         = module.lake.bucket
  copy           = module.lake.copy
  budget_usd     = var.budget_usd
  gateways = var.gateway == null ? null : {
    dimensions = one(concat(module.fargate[*].dimensions, module.ec2[*].dimensions))
    count      = var.gateway.profile == "fargate" ? var.gateway.tasks_min : length(var.gateway.subnet_ids)
  }
}

module "fargate" {
  source      = "./modules/gateway-fargate"
  count       = try(var.gateway.profile, null) == "fargate" ? 1 : 0
  name        = local.name
  gateway     = var.gateway
  environment = module.lake.gateway_environment
  policy      = module.lake.gateway_policy
  key_arn     = module.lake.key_arn
  notices     = module.lake.notices
  metrics     = module.alarms.metrics
  protected   = var.protected
}

module "ec2" {
  source      = "./modules/gateway-ec2"
  count       = try(var.gateway.profile, null) == "ec2" ? 1 : 0
  name        = local.name
  gateway     = var.gateway
  environment = module.lake.gateway_environment
  policy      = module.lake.gateway_policy
  key_arn     = module.lake.key_arn
  metrics     = module.alarms.metrics
  protected   = var.protected
}

module "governance" {
  source   = "./modules/governance"
  count    = length(var.analysts) > 0 ? 1 : 0
  bucket   = module.lake.bucket
  database = module.lake.database
  tables   = { for table in concat(local.catalogue.tables, local.catalogue.views) : table.name => table.columns[*].name }
  analysts = var.analysts
}
