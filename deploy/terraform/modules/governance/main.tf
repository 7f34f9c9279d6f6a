# Lake Formation, for the named roles only: hybrid access leaves everyone else to IAM.

data "aws_partition" "current" {}

resource "aws_lakeformation_resource" "lake" {
  arn                     = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}/events"
  use_service_linked_role = true
  hybrid_access_enabled   = true
}

resource "aws_lakeformation_permissions" "database" {
  for_each    = toset(var.analysts)
  principal   = each.value
  permissions = ["DESCRIBE"]
  database {
    name = var.database
  }
}

# All columns but the addresses of clients.
resource "aws_lakeformation_permissions" "tables" {
  for_each    = { for pair in setproduct(var.analysts, keys(var.tables)) : "${pair[0]} ${pair[1]}" => pair }
  principal   = each.value[0]
  permissions = ["SELECT"]
  table_with_columns {
    database_name         = var.database
    name                  = each.value[1]
    wildcard              = contains(var.tables[each.value[1]], "client_address") ? null : true
    excluded_column_names = contains(var.tables[each.value[1]], "client_address") ? ["client_address"] : null
  }
  depends_on = [aws_lakeformation_permissions.database]
}

resource "aws_lakeformation_opt_in" "analysts" {
  for_each = toset(var.analysts)
  principal {
    data_lake_principal_identifier = each.value
  }
  resource_data {
    database {
      name = var.database
    }
  }
}
