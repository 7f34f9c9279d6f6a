//! Payloads in typed columns, and back.

use arrow_array::{Array, RecordBatch, cast::AsArray, types::*};
use arrow_schema::DataType;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{columns::TypedColumns, convert, delta_schema::delta_schema};
use crate::{
    event::{EventColumn, EventColumns, FieldType},
    sink::lake::row::LakeRow,
};

fn row(payload: &str, schema_version: Option<i32>) -> LakeRow<'_> {
    LakeRow {
        event_uuid: "01a1f4f7-32ac-7e07-ad70-d39f77ca4401",
        event_name: "menu:item:viewed",
        event_type: "menu",
        event_subtype: Some("item"),
        source: "web",
        schema_version,
        created_at: 1_795_111_203.5,
        created_millis: 1_795_111_203_500,
        received_millis: 1_795_111_204_000,
        created_date: "2026-11-19",
        payload,
        client_address: None,
        dedup_scope: Some("web"),
    }
}

fn column(field: &str, kind: FieldType) -> EventColumn {
    EventColumn { column: field.replace('-', "_"), field: field.to_owned(), versions: vec![1], kind, description: String::new() }
}

fn definition(columns: Vec<EventColumn>) -> EventColumns {
    EventColumns { event_name: "menu:item:viewed".into(), description: String::new(), columns }
}

fn batch(columns: Vec<EventColumn>, payloads: &[&str]) -> RecordBatch {
    let mut typed = TypedColumns::new(&definition(columns));
    payloads.iter().for_each(|payload| typed.push(&row(payload, Some(1))));
    assert_eq!(typed.size().0, payloads.len());
    typed.finish().unwrap()
}

/// A cell as JSON: times and dates as text, decimals as their digits.
fn cell(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(at).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(at).into(),
        DataType::Utf8 => array.as_string::<i32>().value(at).into(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(at).into(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value_as_date(at).unwrap().to_string().into(),
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(at);
            jiff::Timestamp::from_microsecond(micros).unwrap().to_string().into()
        }
        DataType::Timestamp(..) => array.as_primitive::<TimestampMillisecondType>().value(at).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            (0..items.len()).map(|item| cell(&items, item)).collect()
        }
        DataType::Struct(members) => {
            let object = array.as_struct();
            let member =
                |(index, field): (usize, &arrow_schema::FieldRef)| (field.name().clone(), cell(object.column(index), at));
            Value::Object(members.iter().enumerate().map(member).collect())
        }
        other => panic!("{other}"),
    }
}

fn value(batch: &RecordBatch, column: &str, at: usize) -> Value {
    cell(batch.column_by_name(column).unwrap(), at)
}

fn json_cell(batch: &RecordBatch, column: &str, at: usize) -> Value {
    match value(batch, column, at) {
        Value::String(text) => serde_json::from_str(&text).unwrap(),
        other => other,
    }
}

#[test]
fn every_type_has_its_value_and_what_does_not_convert_keeps_its_place_and_reason() {
    let columns = vec![
        column("flag", FieldType::Boolean),
        column("count", FieldType::Integer),
        column("ratio", FieldType::Number),
        column("price", FieldType::Decimal { precision: 18, scale: 2 }),
        column("name", FieldType::Text),
        column("at", FieldType::Timestamp),
        column("day", FieldType::Date),
        column("any", FieldType::Json),
        column("tags", FieldType::List(Box::new(FieldType::Text))),
        column("size-px", FieldType::Struct(vec![column("w", FieldType::Integer), column("h", FieldType::Integer)])),
    ];
    let good = r#"{"event_uuid":"x","event_name":"menu:item:viewed","created_at":1,"source":"mine","flag":true,"count":12.0,
        "ratio":0.1,"price":19.90,"name":"caf\u00e9\u0000","at":"2026-11-28T01:02:03.123456789+02:00","day":"2026-11-28",
        "any":{"a":[1, 2]},"tags":["a",null,"b"],"size-px":{"h":2,"w":1,"d":3},"more":[1 ,2]}"#;
    let bad = r#"{"flag":1,"count":1.5,"ratio":9007199254740993,"price":0.001,"name":5,"at":"2026-11-28T23:59:60Z","day":"20261128",
        "any":null,"tags":["a",5],"size-px":[1],"count":3}"#;
    let batch = batch(columns, &[good, bad, "{}", "no JSON", "[1]"]);
    let cells = |at| {
        ["flag", "count", "ratio", "price", "name", "at", "day", "any", "tags", "size_px"].map(|name| value(&batch, name, at))
    };
    let expected = [
        json!(true),
        json!(12),
        json!(0.1),
        json!("19.90"),
        json!("café\u{0}"),
        json!("2026-11-27T23:02:03.123456Z"),
        json!("2026-11-28"),
        json!(r#"{"a":[1, 2]}"#),
        json!(["a", null, "b"]),
        json!({"w": 1, "h": 2}),
    ];
    assert_eq!(cells(0), expected);
    assert_eq!(value(&batch, "_unconverted", 0), Value::Null);
    assert_eq!(json_cell(&batch, "_other", 0), json!({"/size-px/d": 3, "/more": [1, 2]}));
    assert_eq!((value(&batch, "source", 0), value(&batch, "dedup_scope", 0)), (json!("web"), json!("web")), "the envelope's");

    let mut nothing = [const { Value::Null }; 10];
    nothing[8] = json!(["a", null]);
    assert_eq!(cells(1), nothing);
    let reasons = json_cell(&batch, "_unconverted", 1);
    let reason = |place: &str| reasons[place]["reason"].as_str().unwrap_or_default().to_owned();
    for (place, text) in [
        ("/flag", "not a boolean"),
        ("/ratio", "more digits than a double has"),
        ("/price", "more digits after the point than the column has"),
        ("/name", "not a string"),
        ("/at", "a leap second, which no timestamp has"),
        ("/day", "not a date of the form 2026-11-28"),
        ("/tags/1", "not a string"),
        ("/size-px", "not an object"),
    ] {
        assert_eq!(reason(place), text, "{place}");
    }
    assert_eq!(reasons["/tags/1"]["value"], json!(5));
    // The object has the place twice, one for each value.
    let text = value(&batch, "_unconverted", 1);
    assert_eq!(text.as_str().unwrap().matches(r#""/count":"#).count(), 2, "{text}");

    assert_eq!(cells(2), [const { Value::Null }; 10]);
    assert_eq!((value(&batch, "_unconverted", 2), value(&batch, "_other", 2)), (Value::Null, Value::Null));
    assert_eq!(json_cell(&batch, "_unconverted", 3), json!({"": {"value": "no JSON", "reason": "not an event in JSON"}}));
    assert_eq!(json_cell(&batch, "_unconverted", 4), json!({"": {"value": [1], "reason": "not an object"}}));
}

#[test]
fn whole_numbers_stay_exact_in_doubles_or_stay_out() {
    let batch = batch(
        vec![column("n", FieldType::Number)],
        &[
            r#"{"n":9007199254740993}"#,
            r#"{"n":18014398509481984}"#,
            r#"{"n":1e300}"#,
            r#"{"n":0.30000000000000000001}"#,
            r#"{"n":1e999}"#,
            r#"{"n":10000000000000000000000000000000000000001}"#,
            r#"{"n":10000000000000000303786028427003666890752}"#,
        ],
    );
    assert_eq!(value(&batch, "n", 0), Value::Null, "2^53 + 1 is no double");
    assert_eq!(value(&batch, "n", 1), json!(18_014_398_509_481_984.0));
    assert_eq!(value(&batch, "n", 2), json!(1e300));
    assert_eq!(value(&batch, "n", 3), json!(0.3));
    assert_eq!(value(&batch, "n", 4), Value::Null);
    assert_eq!(value(&batch, "n", 5), Value::Null, "10^40 + 1 is no double");
    assert_eq!(value(&batch, "n", 6), json!(1e40), "all digits that the nearest double to 10^40 has");
    assert!(value(&batch, "_unconverted", 4).as_str().unwrap().contains(r#"{"value":1e999,"reason":"beyond a double"}"#));
}

#[test]
fn an_address_that_the_gateway_did_not_keep_is_a_field_as_any_other() {
    let mut typed = TypedColumns::new(&definition(Vec::new()));
    let payload = r#"{"client_address":"1.2.3.4"}"#;
    typed.push(&row(payload, None));
    typed.push(&LakeRow { client_address: Some("1.2.3.4"), ..row(payload, None) });
    let batch = typed.finish().unwrap();
    assert_eq!(json_cell(&batch, "_other", 0), json!({"/client_address": "1.2.3.4"}));
    assert_eq!(value(&batch, "_other", 1), Value::Null);
}

#[test]
fn times_of_the_years_that_engines_know_have_their_instant_and_others_stay_out() {
    const SECOND: i64 = 1_000_000;
    for (text, wanted) in [
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("9999-12-31T23:59:59.999999999Z", Ok(253_402_300_800 * SECOND - 1)),
        ("9999-12-31T23:59:59+23:59", Ok((253_402_300_799 - 86_340) * SECOND)),
        ("0001-01-01T00:00:00Z", Ok(-62_135_596_800 * SECOND)),
        ("1969-12-31T23:59:59.9999999-00:00", Ok(-1)),
        ("1970-01-01T00:00:00.000001999999999999+00:00", Ok(1)),
        ("1970-01-01T00:00:00.Z", Err("not a date-time of RFC 3339")),
        ("9999-12-31T23:59:59-00:01", Err("outside of the years 1 to 9999")),
        ("0001-01-01T00:00:00+00:01", Err("outside of the years 1 to 9999")),
        ("0000-06-01T00:00:00Z", Err("outside of the years 1 to 9999")),
        ("2026-02-29T00:00:00Z", Err("not a date-time of RFC 3339")),
        ("2026-11-28T00:00:00", Err("not a date-time of RFC 3339")),
    ] {
        assert_eq!(convert::timestamp(text), wanted, "{text}");
    }
    assert_eq!(convert::date("9999-12-31"), Ok(2_932_896));
    assert_eq!(convert::date("0000-12-31"), Err("outside of the years 1 to 9999"));
}

#[test]
fn a_field_whose_type_changed_goes_to_the_column_of_its_version() {
    let columns = vec![
        EventColumn { versions: vec![1, 3], ..column("price", FieldType::Text) },
        EventColumn { column: "price_v2".into(), versions: vec![2], ..column("price", FieldType::Integer) },
    ];
    let mut typed = TypedColumns::new(&definition(columns));
    for (payload, version) in [
        (r#"{"price":"1 €"}"#, Some(1)),
        (r#"{"price":2}"#, Some(2)),
        (r#"{"price":"3"}"#, Some(3)),
        (r#"{"price":4}"#, None),
        (r#"{"price":5}"#, Some(1)),
    ] {
        typed.push(&row(payload, version));
    }
    assert_eq!(typed.unconverted_rows(), 1);
    let batch = typed.finish().unwrap();
    let column = |name: &str| (0..5).map(|at| value(&batch, name, at)).collect::<Value>();
    assert_eq!(column("price"), json!(["1 €", null, "3", null, null]));
    assert_eq!(column("price_v2"), json!([null, 2, null, 4, null]));
    assert_eq!(json_cell(&batch, "_unconverted", 4)["/price"]["value"], 5);
}

#[test]
fn the_log_names_every_column_of_the_files_and_both_partition_columns() {
    let columns = vec![
        EventColumn { description: "What it costs.".into(), ..column("price", FieldType::Decimal { precision: 38, scale: 2 }) },
        column("tags", FieldType::List(Box::new(FieldType::Struct(vec![column("at", FieldType::Timestamp)])))),
    ];
    let definition = definition(columns);
    let schema: Value = serde_json::from_str(&delta_schema(&definition)).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    let files = TypedColumns::new(&definition).schema();
    let mut expected: Vec<&str> = files.fields().iter().map(|field| field.name().as_str()).collect();
    expected.extend(["event_type", "created_date"]);
    assert_eq!(names, expected);
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(field("price")["type"], "decimal(38,2)");
    assert_eq!(field("price")["metadata"]["comment"], "What it costs.");
    assert_eq!(field("tags")["type"]["elementType"]["fields"][0]["type"], "timestamp_ntz");
    assert_eq!(field("created_datetime")["type"], "timestamp_ntz");
    assert_eq!(field("created_date")["type"], "date");
}

/// A type, and values of it, each with the cell that it becomes.
fn typed_value(depth: u32) -> BoxedStrategy<(FieldType, BoxedStrategy<(Value, Value)>)> {
    fn same(strategy: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<(Value, Value)> {
        strategy.prop_map(|value| (value.clone(), value)).boxed()
    }
    let leaf = prop_oneof![
        Just((FieldType::Boolean, same(any::<bool>().prop_map(Value::from)))),
        Just((FieldType::Integer, same(any::<i64>().prop_map(Value::from)))),
        Just((
            FieldType::Number,
            same(any::<f64>().prop_filter("JSON", |n| n.is_finite() && n.fract() != 0.0).prop_map(Value::from))
        )),
        Just((FieldType::Text, same(any::<String>().prop_map(Value::from)))),
        (1_u8..=18).prop_map(|scale| {
            let cents = (-99_999_i64..=99_999).prop_map(move |number| {
                let digits = format!("{:0width$}", number.abs(), width = usize::from(scale) + 1);
                let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
                let text = format!("{}{whole}.{fraction}", if number < 0 { "-" } else { "" });
                // Parsed from its text, so that it keeps its digits.
                (json!({ "decimal": text.clone() }), Value::from(text))
            });
            (FieldType::Decimal { precision: 38, scale }, cents.boxed())
        }),
        Just((FieldType::Date, same((-300_000_i32..300_000).prop_map(|days| crate::event::Date { days }.to_string().into())))),
        Just((
            FieldType::Timestamp,
            (-10_000_000_000_000_i64..10_000_000_000_000_000)
                .prop_map(|micros| {
                    let time = jiff::Timestamp::from_microsecond(micros).unwrap();
                    let offset = jiff::tz::Offset::from_seconds((micros % 43_200 / 60 * 60) as i32).unwrap();
                    (time.display_with_offset(offset).to_string().into(), time.to_string().into())
                })
                .boxed()
        )),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let below = move || typed_value(depth - 1);
    prop_oneof![
        3 => leaf,
        1 => below().prop_map(|(kind, values)| {
            let items = prop::collection::vec(values, 0..4).prop_map(|items| {
                let (json, cells): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                (Value::from(json), Value::from(cells))
            });
            (FieldType::List(Box::new(kind)), items.boxed())
        }),
        1 => prop::collection::vec(below(), 1..4).prop_map(|members| {
            let columns = members.iter().enumerate().map(|(i, (kind, _))| column(&format!("m-{i}"), kind.clone())).collect();
            let values: Vec<_> = members.into_iter().map(|(_, values)| prop::option::of(values)).collect();
            let objects = values.prop_map(|values| {
                let (mut json, mut cells) = (Map::new(), Map::new());
                for (i, value) in values.into_iter().enumerate() {
                    let (value, cell) = value.unzip();
                    value.into_iter().for_each(|value| drop(json.insert(format!("m-{i}"), value)));
                    cells.insert(format!("m_{i}"), cell.unwrap_or(Value::Null));
                }
                (Value::from(json), Value::from(cells))
            });
            (FieldType::Struct(columns), objects.boxed())
        }),
    ]
    .boxed()
}

/// The JSON text of a generated value: decimals as they are written.
fn text_of(value: &Value) -> String {
    match value {
        Value::Object(members) if members.len() == 1 && members.contains_key("decimal") => {
            members["decimal"].as_str().unwrap().to_owned()
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), text_of(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_fits_its_type_is_equal_in_its_column(
        (kind, rows) in typed_value(3).prop_flat_map(|(kind, values)| (Just(kind), prop::collection::vec(values, 1..5)))
    ) {
        let payloads: Vec<String> = rows.iter().map(|(value, _)| format!("{{\"field\":{}}}", text_of(value))).collect();
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let batch = batch(vec![column("field", kind)], &payloads);
        for (at, (_, expected)) in rows.iter().enumerate() {
            prop_assert_eq!(value(&batch, "_unconverted", at), Value::Null);
            prop_assert_eq!(&value(&batch, "field", at), expected, "{}", payloads[at]);
        }
    }
}
