//! The columns of a typed table, as its log remembers them, and what becomes of them when the schemas change.

use std::collections::BTreeSet;

use crate::{
    event::{EventColumn, EventColumns, FieldType},
    sink::lake::table::Snapshot,
};

/// Setting of a typed table: its event name.
pub(super) const EVENT_NAME: &str = "lakegate.event_name";
/// Setting of a typed table: its definition as JSON.
pub(super) const COLUMNS: &str = "lakegate.columns";
/// Setting of a typed table that was emptied, because its columns changed: what was built before does not count.
pub(super) const GENERATION: &str = "lakegate.generation";
/// Value of the setting [`TABLE_KIND`](crate::sink::lake::table::TABLE_KIND).
pub(super) const KIND: &str = "typed";

/// The definition that a table has; `None` if it cannot be read.
pub(super) fn stored(snapshot: &Snapshot) -> Option<EventColumns> {
    serde_json::from_str(snapshot.setting(COLUMNS)?).ok()
}

/// What the definition of a table becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evolution {
    /// It stays as it is.
    Same,
    /// It has more columns, or other descriptions. The files that are there still fit.
    Extended(EventColumns),
    /// The files that are there do not fit.
    Incompatible,
}

/// What becomes of a table with the definition `stored` if the schemas now say `wanted`. A column that the schemas lost stays.
pub(super) fn evolve(stored: &EventColumns, wanted: &EventColumns) -> Evolution {
    let mut columns = Vec::with_capacity(wanted.columns.len());
    for column in &stored.columns {
        match wanted.columns.iter().find(|other| other.column == column.column) {
            Some(other) if is_same(column, other) => {
                // A gateway with older schemas takes nothing away.
                let versions: BTreeSet<u32> = column.versions.iter().chain(&other.versions).copied().collect();
                columns.push(EventColumn { versions: versions.into_iter().collect(), ..other.clone() });
            }
            Some(_) => return Evolution::Incompatible,
            None => columns.push(column.clone()),
        }
    }
    for column in &wanted.columns {
        if columns.iter().any(|known| known.column == column.column) {
            continue;
        }
        if columns.iter().any(|known| known.column.eq_ignore_ascii_case(&column.column)) {
            return Evolution::Incompatible;
        }
        columns.push(column.clone());
    }
    let united = EventColumns { columns, ..wanted.clone() };
    if united == *stored { Evolution::Same } else { Evolution::Extended(united) }
}

/// Whether both have the same values in the same form, whatever their descriptions.
fn is_same(a: &EventColumn, b: &EventColumn) -> bool {
    a.column == b.column && a.field == b.field && is_same_type(&a.kind, &b.kind)
}

fn is_same_type(a: &FieldType, b: &FieldType) -> bool {
    match (a, b) {
        (FieldType::List(a), FieldType::List(b)) => is_same_type(a, b),
        (FieldType::Struct(a), FieldType::Struct(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn column(name: &str, kind: FieldType, description: &str) -> EventColumn {
        EventColumn { column: name.into(), field: name.into(), versions: vec![1], kind, description: description.into() }
    }

    fn columns(columns: &[EventColumn]) -> EventColumns {
        EventColumns { event_name: "menu:a".into(), description: String::new(), columns: columns.to_vec() }
    }

    #[test]
    fn columns_join_and_stay_and_a_type_that_differs_empties_the_table() {
        let (a, b) = (column("a", FieldType::Integer, ""), column("b", FieldType::Text, ""));
        let both = columns(&[a.clone(), b.clone()]);
        assert_eq!(evolve(&both, &both), Evolution::Same);
        assert_eq!(evolve(&both, &columns(slice::from_ref(&b))), Evolution::Same, "an older registry takes nothing away");
        assert_eq!(evolve(&columns(slice::from_ref(&b)), &both), Evolution::Extended(columns(&[b.clone(), a.clone()])));
        let newer = columns(&[EventColumn { versions: vec![2], ..a.clone() }]);
        let united = columns(&[EventColumn { versions: vec![1, 2], ..a.clone() }]);
        assert_eq!(evolve(&columns(slice::from_ref(&a)), &newer), Evolution::Extended(united));
        let told = columns(&[column("a", FieldType::Integer, "how many"), b]);
        assert_eq!(evolve(&both, &told), Evolution::Extended(told.clone()));
        assert_eq!(evolve(&both, &columns(&[column("a", FieldType::Number, "")])), Evolution::Incompatible);
        assert_eq!(evolve(&both, &columns(&[column("A", FieldType::Integer, "")])), Evolution::Incompatible);
        let nested = |inner: EventColumn| columns(&[column("n", FieldType::List(Box::new(FieldType::Struct(vec![inner]))), "")]);
        let told = nested(column("a", FieldType::Integer, "told"));
        assert_eq!(evolve(&nested(a.clone()), &told), Evolution::Extended(told));
        assert_eq!(evolve(&nested(a), &nested(column("c", FieldType::Integer, ""))), Evolution::Incompatible);
    }
}
