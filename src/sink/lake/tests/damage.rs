//! Damaged and foreign files: reported, left out, never fatal.

use std::{fs, sync::Arc};

use arrow_array::{RecordBatch, StringArray};
use parquet::{arrow::ArrowWriter, file::reader::FileReader, file::serialized_reader::SerializedFileReader};

use super::*;

#[tokio::test]
async fn files_that_are_not_ours_are_named_and_the_rest_is_read() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu")]).await;
    let ours = lake.files()[0].clone();
    let folder = ours.parent().unwrap();
    fs::write(folder.join("garbage.parquet"), b"PAR1 this is no file of any kind PAR1").unwrap();
    fs::write(folder.join("empty.parquet"), b"").unwrap();
    let whole = fs::read(&ours).unwrap();
    fs::write(folder.join("half.parquet"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("notes.txt"), b"").unwrap();
    fs::write(folder.join(".hidden.parquet"), b"").unwrap();
    let column = Arc::new(StringArray::from(vec!["x"])) as _;
    let other = RecordBatch::try_from_iter([("event_uuid", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(folder.join("other.parquet")).unwrap(), other.schema(), None).unwrap();
    writer.write(&other).unwrap();
    writer.close().unwrap();

    let reader = lake.reader();
    let all = Filters::default();
    let listing = reader.ls(&all).unwrap();
    let names = |left_out: &[crate::sink::lake::LeftOut]| {
        let mut names: Vec<String> =
            left_out.iter().map(|left_out| left_out.file.rsplit('/').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let expected = ["empty.parquet", "garbage.parquet", "half.parquet", "notes.txt", "other.parquet"];
    assert_eq!(names(&listing.left_out), expected);
    let why = listing.left_out.iter().find(|left_out| left_out.file.ends_with("other.parquet")).unwrap();
    assert!(why.reason.contains("no column `event_name`"), "{why:?}");
    assert_eq!(listing.partitions[0].rows, 1);
    assert_eq!(names(&reader.count(&all, true).unwrap().left_out), expected);
    let mut rows = 0;
    let mut each = || {
        rows += 1;
        Ok(())
    };
    assert_eq!(names(&reader.export(&all, true, &mut |_| each()).unwrap().left_out), expected);
    assert_eq!(names(&reader.find(Uuid::from_u128(1), &all, &mut |_, _| each()).unwrap()), expected);
    assert_eq!(rows, 2);
}

/// The identities of this file cannot be decoded any more, so the query reports an error only if it reads them.
#[tokio::test]
async fn find_does_not_read_the_identities_of_a_file_whose_filter_excludes_the_one_sought() {
    let lake = TestLake::without_log();
    lake.write(0, (0..100).map(|number| event(number * 1_000, "menu")).collect()).await;
    let path = lake.files()[0].clone();
    let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    let (start, length) = reader.metadata().row_group(0).column(0).byte_range();
    let mut bytes = fs::read(&path).unwrap();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    let find = |number| lake.reader().find(Uuid::from_u128(number), &Filters::default(), &mut |_, _| Ok(())).unwrap();
    let within_the_statistics = (1..20).map(|number| number * 1_000 + 1);
    let looked: usize = within_the_statistics.map(|number| find(number).len()).sum();
    assert!(looked <= 3, "the filter lets through 1 in 100, but {looked} in 19 were looked for");
    assert_eq!(find(5_000).len(), 1, "one that may be there is looked for, and what is in the way is reported");
}

#[test]
fn no_damaged_byte_makes_the_reader_panic() {
    let written = TestLake::without_log();
    let records = (0..10).map(|number| event(number, "menu:item:viewed")).collect();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(written.write(0, records));
    let path = &written.files()[0];
    let whole = fs::read(path).unwrap();
    let (lake, all) = (written.reader(), Filters::default());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        // Flips signs and changes sizes.
        damaged[at] ^= 0x81;
        fs::write(path, damaged).unwrap();
        lake.count(&all, true).unwrap();
        lake.find(Uuid::from_u128(3), &all, &mut |_, _| Ok(())).unwrap();
        lake.export(&all, true, &mut |_| Ok(())).unwrap();
    }
}
