# The tables and views of Glue, from the catalogue that `lakegate lake tables` prints: they cannot drift from the registry.

resource "aws_glue_catalog_database" "lake" {
  name        = replace(var.name, "-", "_")
  description = "Events of ${var.name}"
}

resource "aws_glue_catalog_table" "files" {
  for_each      = { for table in var.catalogue.tables : table.name => table }
  name          = each.key
  description   = each.value.comment
  database_name = aws_glue_catalog_database.lake.name
  table_type    = "EXTERNAL_TABLE"
  parameters    = merge(each.value.parameters, { "storage.location.template" = "${local.root}/${each.value.location_template}" })

  dynamic "partition_keys" {
    for_each = each.value.partition_keys
    content {
      name    = partition_keys.value.name
      type    = partition_keys.value.type
      comment = partition_keys.value.comment
    }
  }
  storage_descriptor {
    location      = "${local.root}/"
    input_format  = var.catalogue.storage.input_format
    output_format = var.catalogue.storage.output_format
    ser_de_info {
      serialization_library = var.catalogue.storage.serialization_library
    }
    dynamic "columns" {
      for_each = each.value.columns
      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }
}

# Athena keeps a view as a table whose text is JSON in base64.
resource "aws_glue_catalog_table" "views" {
  for_each      = { for view in var.catalogue.views : view.name => view }
  name          = each.key
  description   = each.value.comment
  database_name = aws_glue_catalog_database.lake.name
  table_type    = "VIRTUAL_VIEW"
  parameters    = { presto_view = "true", comment = "Presto View" }
  view_original_text = format("/* Presto View: %s */", base64encode(jsonencode({
    originalSql = each.value.sql
    catalog     = "awsdatacatalog"
    schema      = aws_glue_catalog_database.lake.name
    columns     = [for column in each.value.columns : { name = column.name, type = column.presto }]
  })))
  view_expanded_text = "/* Presto View */"

  storage_descriptor {
    ser_de_info {}
    dynamic "columns" {
      for_each = each.value.columns
      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }
}
