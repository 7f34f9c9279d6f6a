//! A damaged run is detected, and its data is never used.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::conditions::Condition;

/// A folder with one run of several pages and slices, its identities, and the run's file.
fn one_run(folder: &Path) -> (WindowConfig, Vec<Uuid>, PathBuf) {
    let config = WindowConfig { hot_identities: 700, ..tiny(folder) };
    let ids = random_ids(700);
    let window = open(&config);
    remember(&window, &ids, 0, 0);
    window.close().unwrap();
    let runs: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 1);
    (config, ids, runs[0].clone())
}

/// Opens the folder and looks up everything. Returns how many were known, and whether the run was set aside or had damaged
/// pages.
fn examine(config: &WindowConfig, ids: &[Uuid], unknown: &[Uuid]) -> (usize, bool) {
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    let found = known(&window, ids, 0);
    assert_eq!(known(&window, unknown, 0), 0, "damage never makes a duplicate");
    (found, !report.set_aside.is_empty() || window.stats().damaged_pages > 0)
}

#[test]
fn a_flipped_byte_anywhere_is_noticed_and_never_makes_a_duplicate() {
    let folder = scratch();
    let (config, ids, run) = one_run(folder.path());
    let unknown = random_ids(100);
    let intact = fs::read(&run).unwrap();
    let pages_end = 4096 * 6;
    // Every byte of the header's fields, samples of the rest, and the last byte.
    let places =
        (0..64).chain((64..pages_end).step_by(151)).chain((pages_end..intact.len()).step_by(3)).chain([intact.len() - 1]);
    let mut set_aside = 0;
    for (flip, place) in places.enumerate() {
        let mut bytes = intact.clone();
        bytes[place] ^= 1 << (flip % 8);
        fs::write(&run, &bytes).unwrap();
        let (found, is_noticed) = examine(&config, &ids, &unknown);
        assert!(is_noticed, "byte {place} of {}", intact.len());
        if (4096..pages_end).contains(&place) {
            assert!(found >= 700 - 170, "byte {place}: only one page is lost, {found} are left");
        } else {
            assert_eq!(found, 0, "byte {place}");
            set_aside += 1;
        }
    }
    assert!(set_aside > 100);
    fs::write(&run, &intact).unwrap();
    assert_eq!(examine(&config, &ids, &unknown), (700, false));
}

#[test]
fn a_run_cut_short_or_grown_or_swapped_is_set_aside() {
    let folder = scratch();
    let (config, ids, run) = one_run(folder.path());
    let intact = fs::read(&run).unwrap();
    let mut cuts: Vec<Vec<u8>> = (0..intact.len()).step_by(509).map(|length| intact[..length].to_vec()).collect();
    cuts.push([intact.as_slice(), &[0]].concat());
    cuts.push(vec![0; intact.len()]);
    for bytes in cuts {
        fs::write(&run, &bytes).unwrap();
        assert_eq!(examine(&config, &ids, &[]), (0, true), "{} of {} bytes", bytes.len(), intact.len());
        assert!(run.with_extension("damaged").exists() && !run.exists());
    }
    // Two swapped pages have intact bytes, but in the wrong place.
    let mut swapped = intact.clone();
    swapped[4096..4096 * 3].rotate_left(4096);
    fs::write(&run, &swapped).unwrap();
    let (found, is_noticed) = examine(&config, &ids, &[]);
    assert!(is_noticed && found < 700);
}

#[test]
fn a_damaged_page_is_left_out_of_a_merge_and_the_others_survive_it() {
    let folder = scratch();
    let (config, ids, run) = one_run(folder.path());
    let mut bytes = fs::read(&run).unwrap();
    bytes[4096 + 4096 + 5] ^= 1;
    fs::write(&run, &bytes).unwrap();
    let window = open(&config);
    let more = random_ids(2100);
    remember(&window, &more, 700, 0);
    window.settle();
    let stats = window.stats();
    assert_eq!(stats.runs, 1);
    assert_eq!(known(&window, &more, 0), 2100);
    assert_eq!(known(&window, &ids, 0), 700 - 170);
    assert_eq!(window.stats().damaged_pages, stats.damaged_pages, "the merged run is sound");
    assert_eq!((stats.damaged_pages, stats.identities_damaged), (1, 170));
    assert!(run.with_extension("damaged").exists(), "what the input still holds is for a person");
    eventually("that is said", || config.conditions.holds(Condition::DedupDamaged));
    fs::remove_file(run.with_extension("damaged")).unwrap();
    eventually("until he removes it", || !config.conditions.holds(Condition::DedupDamaged));
}

#[test]
fn a_run_that_was_set_aside_can_be_put_back_beside_what_came_since() {
    let folder = scratch();
    let (config, ids, run) = one_run(folder.path());
    let intact = fs::read(&run).unwrap();
    fs::write(&run, &intact[..intact.len() - 1]).unwrap();
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert_eq!(report.set_aside.len(), 1);
    let more = random_ids(700);
    remember(&window, &more, 700, 0);
    window.close().unwrap();
    drop(window);
    fs::remove_file(run.with_extension("damaged")).unwrap();
    fs::write(&run, &intact).unwrap();
    let (window, report) = Window::open(config, 0).unwrap();
    assert!(report.set_aside.is_empty());
    assert_eq!(known(&window, &ids, 0) + known(&window, &more, 0), 1400);
}

#[test]
fn a_damaged_newest_run_lowers_the_sealed_mark_so_that_the_spool_can_mend_it() {
    let folder = scratch();
    let config = tiny(folder.path());
    let window = open(&config);
    let ids = random_ids(16);
    remember(&window, &ids[..8], 0, 0);
    window.checkpoint(8).unwrap();
    remember(&window, &ids[8..], 8, 0);
    window.close().unwrap();
    drop(window);
    let newest = folder.path().join("0000000000000002-0000000000000002.run");
    fs::write(&newest, b"nothing").unwrap();
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert_eq!(report.set_aside, [newest.with_extension("damaged")]);
    drop(window);
    let window = open(&config);
    assert_eq!(window.sealed_mark(), 8);
    window.restore(marked(&ids[8..], 8), 0).unwrap();
    assert_eq!(known(&window, &ids, 0), 16);
    window.close().unwrap();
    assert!(folder.path().join("0000000000000003-0000000000000003.run").exists(), "no generation's number is used twice");
}

#[test]
fn a_run_of_another_format_or_of_another_folder_is_not_mixed_in() {
    let (one, other) = (scratch(), scratch());
    let (config, ids, run) = one_run(one.path());
    let (_, foreign_ids, foreign) = one_run(other.path());
    fs::copy(&foreign, one.path().join("0000000000000002-0000000000000002.run")).unwrap();
    let (window, report) = Window::open(config.clone(), 0).unwrap();
    assert_eq!(report.set_aside.len(), 1);
    assert_eq!(known(&window, &ids, 0) + known(&window, &foreign_ids, 0), 700);
    drop(window);

    let mut bytes = fs::read(&run).unwrap();
    bytes[8] = 4;
    let crc = crc32c::crc32c(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    fs::write(&run, bytes).unwrap();
    assert!(matches!(Window::open(config, 0), Err(super::super::OpenError::Version { version: 4, .. })));
    assert!(run.exists(), "a person decides");
}
