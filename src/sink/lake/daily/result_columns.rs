//! The columns of what a query returns.

use arrow_schema::{DataType, Schema, TimeUnit};
use bytes::Bytes;
use parquet::{arrow::parquet_to_arrow_schema, file::metadata::ParquetMetaDataReader};
use serde_json::{Value, json};

use crate::sink::lake::typed::{delta_field, delta_type};

/// The column of the day.
const DAY: &str = "day";
/// The columns of the folders, with their types.
const OF_FOLDERS: [(&str, &str); 2] = [("event_type", "string"), ("created_date", "date")];

/// The schema of the table in the words of Delta Lake's log, from a Parquet file with the columns of a query. An error says what
/// the query must change.
pub(super) fn delta_schema_of(file: &Bytes) -> Result<String, String> {
    let footer = ParquetMetaDataReader::new().parse_and_finish(file).map_err(|error| error.to_string())?;
    let schema = parquet_to_arrow_schema(footer.file_metadata().schema_descr(), None).map_err(|error| error.to_string())?;
    check(&schema)?;
    let fields = schema.fields().iter().map(|field| delta_field(field.name(), &delta_type(field.data_type()), ""));
    let of_folders = OF_FOLDERS.map(|(name, kind)| delta_field(name, &kind.into(), ""));
    Ok(json!({ "type": "struct", "fields": fields.chain(of_folders).collect::<Vec<Value>>() }).to_string())
}

fn check(schema: &Schema) -> Result<(), String> {
    let day = schema.field_with_name(DAY).map_err(|_| "it returns no column `day`".to_owned())?;
    if day.data_type() != &DataType::Date32 {
        return Err(format!("its column `day` is {}; cast it to DATE", day.data_type()));
    }
    for (position, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..position].iter().any(|before| before.name().eq_ignore_ascii_case(field.name())) {
            return Err(format!("it returns two columns `{}`; names that differ in case only are one", field.name()));
        }
        if OF_FOLDERS.iter().any(|(name, _)| field.name().eq_ignore_ascii_case(name)) {
            return Err(format!("it returns a column `{}`, which is the name of a folder; give it another name", field.name()));
        }
        if !is_known(field.data_type()) {
            let (name, kind) = (field.name(), field.data_type());
            return Err(format!(
                "its column `{name}` is {kind}, which a table cannot have; cast it, such as to BIGINT or VARCHAR"
            ));
        }
    }
    Ok(())
}

/// Whether Delta Lake has this type.
fn is_known(kind: &DataType) -> bool {
    match kind {
        DataType::Boolean | DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Date32 | DataType::Utf8 => true,
        DataType::Decimal128(..) | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, None) => true,
        DataType::List(element) => is_known(element.data_type()),
        DataType::Struct(members) => members.iter().all(|member| is_known(member.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    #[test]
    fn a_result_has_a_day_and_types_that_a_table_can_have() {
        let said = |fields: &[(&str, DataType)]| {
            let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
            check(&Schema::new(fields)).err().unwrap_or_default()
        };
        let day = (DAY, DataType::Date32);
        assert_eq!(said(&[day.clone(), ("visits", DataType::Int64)]), "");
        assert!(said(&[("visits", DataType::Int64)]).contains("no column `day`"));
        assert!(said(&[(DAY, DataType::Utf8)]).contains("cast it to DATE"));
        assert!(said(&[day.clone(), ("Created_Date", DataType::Date32)]).contains("another name"));
        assert!(said(&[day.clone(), ("n", DataType::Int64), ("N", DataType::Int64)]).contains("two columns `N`"));
        let unsigned = said(&[day, ("n", DataType::UInt8)]);
        assert!(unsigned.contains("`n` is UInt8") && unsigned.contains("cast it"), "{unsigned}");
    }
}
