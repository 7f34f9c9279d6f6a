//! A table as it is declared.

use arrow_schema::{DataType, TimeUnit};

use crate::{
    event::{EventColumns, FieldType},
    sink::lake::{
        error::LakeError,
        typed::{comment_of_leftovers, table_schema},
        views::{comment, literal, quoted},
    },
};

/// A typed table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTable {
    /// Its name.
    pub name: String,
    /// Its folder: an absolute path, or a URL.
    pub location: String,
    /// What it holds; may be empty.
    pub comment: String,
    /// Its columns, in order; the last two are those of the partitions.
    pub columns: Vec<DeclaredColumn>,
    /// Fields whose type changed: the names of their columns.
    pub changed: Vec<Vec<String>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Its name.
    pub name: String,
    /// Its type, in Hive's words.
    pub hive: String,
    /// What it means; may be empty.
    pub comment: String,
}

impl DeclaredTable {
    /// The table with these columns, in the folder `name` of `root`.
    #[must_use]
    pub fn of(definition: &EventColumns, name: &str, root: &str) -> Self {
        let schema = table_schema(definition);
        let of_files = schema.fields().iter().map(|field| {
            let own = definition.columns.iter().find(|column| column.column == *field.name());
            let of_schema = own.map(|column| column.description.as_str());
            let comment = comment_of_leftovers(field.name()).or(of_schema).unwrap_or_else(|| comment(field.name()));
            DeclaredColumn { name: field.name().clone(), hive: hive(field.data_type()), comment: comment.to_owned() }
        });
        let of_folders = [("event_type", "string"), ("created_date", "date")].map(|(name, hive)| DeclaredColumn {
            name: name.to_owned(),
            hive: hive.to_owned(),
            comment: comment(name).to_owned(),
        });
        Self {
            name: name.to_owned(),
            location: format!("{root}/{name}"),
            comment: definition.description.clone(),
            columns: of_files.chain(of_folders).collect(),
            changed: changed(definition),
        }
    }

    /// Bucket and path, if the table is in S3.
    pub(super) fn on_s3(&self) -> Result<(&str, &str), LakeError> {
        let found = self.location.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        found.ok_or_else(|| LakeError::Root {
            root: self.location.clone(),
            reason: "this engine reads tables in S3 only: give --lake s3://bucket/prefix".to_owned(),
        })
    }

    /// The name of the view that joins the columns of changed fields; `None` if there are none.
    pub(super) fn joined_name(&self) -> Option<String> {
        (!self.changed.is_empty()).then(|| format!("{}_joined", self.name))
    }

    /// The SELECT of that view: every column, those of a changed field as one, as text. `text` is the type for text.
    pub(super) fn joined_select(&self, from: &str, text: &str, quote: fn(&str) -> String) -> String {
        let columns =
            self.columns.iter().filter_map(|column| match self.changed.iter().find(|columns| columns.contains(&column.name)) {
                None => Some(quote(&column.name)),
                Some(columns) if columns[0] == column.name => {
                    let casts = columns.iter().map(|name| format!("CAST({} AS {text})", quote(name)));
                    Some(format!("coalesce({}) AS {}", casts.collect::<Vec<_>>().join(", "), quote(&column.name)))
                }
                Some(_) => None,
            });
        format!("SELECT\n  {}\nFROM {from}", columns.collect::<Vec<_>>().join(",\n  "))
    }
}

/// A type in Hive's words.
fn hive(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, None) => "timestamp".into(),
        DataType::Date32 => "date".into(),
        DataType::List(element) => format!("array<{}>", hive(element.data_type())),
        DataType::Struct(members) => {
            let members = members.iter().map(|member| format!("{}:{}", member.name().to_lowercase(), hive(member.data_type())));
            format!("struct<{}>", members.collect::<Vec<_>>().join(","))
        }
        _ => "string".into(),
    }
}

/// The columns of each field that has several that can be text. A struct or a list has no text that engines agree on.
fn changed(definition: &EventColumns) -> Vec<Vec<String>> {
    let mut changed: Vec<(&str, Vec<String>)> = Vec::new();
    for column in definition.columns.iter().filter(|column| !matches!(column.kind, FieldType::Struct(_) | FieldType::List(_))) {
        match changed.iter_mut().find(|(field, _)| *field == column.field) {
            Some((_, columns)) => columns.push(column.column.clone()),
            None => changed.push((&column.field, vec![column.column.clone()])),
        }
    }
    changed.into_iter().map(|(_, columns)| columns).filter(|columns| columns.len() > 1).collect()
}

/// A quoted name in standard SQL.
pub(super) fn standard(name: &str) -> String {
    quoted(name)
}

/// A quoted name in Hive, Spark and BigQuery.
pub(super) fn backticks(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A quoted text in standard SQL, on one line.
pub(super) fn text(text: &str) -> String {
    literal(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
