//! Every byte of a queue's files damaged, every file cut at every length.

use std::collections::BTreeSet;

use super::simulated::Simulated;
use super::{append, ids, open, read_all};
use crate::disk::Folder as _;
use crate::disk::format::{Mark, SEGMENT_HEAD, SegmentHead};

const RECORDS: u64 = 24;

/// Three and a half segments of records of two events; the first four are settled.
fn queue() -> Simulated {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    for id in 0..RECORDS {
        append(&mut disk, id, 200 + id as usize, 2).unwrap();
    }
    disk.sync().unwrap();
    for record in &read_all(&mut disk)[..4] {
        disk.settled.settle(&record.place).unwrap();
    }
    disk.save().unwrap();
    folder
}

/// Opens a damaged copy, reads it, and goes on with it. Returns what was read and how much was said to be lost.
fn survive(folder: &Simulated, what: &str) -> (Vec<u64>, u64, u64) {
    let mut disk = open(folder, false);
    let read = ids(&read_all(&mut disk));
    assert!(read.is_sorted() && read.iter().collect::<BTreeSet<_>>().len() == read.len(), "{what}");
    let lost = disk.take_lost();
    let cut = disk.take_torn();
    append(&mut disk, 99, 10, 1).expect(what);
    disk.sync().expect(what);
    assert_eq!(ids(&read_all(&mut disk)), [99], "{what}: it goes on");
    let mut again = open(&folder.killed(), false);
    assert_eq!(ids(&read_all(&mut again)), [&read[..], &[99]].concat(), "{what}: and again");
    (read, lost, cut)
}

#[test]
fn a_damaged_byte_costs_one_record_or_one_segment_and_what_it_cost_is_counted() {
    let whole = queue();
    let all: Vec<u64> = (4..RECORDS).collect();
    for (name, content) in whole.everything() {
        for at in 0..content.len() {
            for bit in [1, 0x80] {
                let mut damaged = content.clone();
                damaged[at] ^= bit;
                if at == 4 || at == 5 {
                    continue; // the version: a newer one is refused
                }
                let folder = whole.copy();
                folder.set_content(&name, damaged);
                let what = format!("{name}, byte {at}, bit {bit}");
                let (read, lost, cut) = survive(&folder, &what);
                let missing: Vec<u64> =
                    all.iter().copied().filter(|id| !read.contains(id)).collect();
                if name.starts_with("position") || name == "recent" {
                    assert_eq!(read, all, "{what}: the other file knows it");
                    continue;
                }
                let head = (at as u64) < SEGMENT_HEAD;
                assert!(missing.len() <= if head { 9 } else { 1 }, "{what}: {missing:?}");
                let last = name
                    == whole
                        .names()
                        .unwrap()
                        .iter()
                        .rfind(|n| n.ends_with("seg"))
                        .unwrap()
                        .as_str();
                if head && last {
                    assert!(folder.everything().iter().any(|(name, _)| name.ends_with("bad")));
                } else {
                    let tail = missing.last() == Some(&(RECORDS - 1));
                    assert!(
                        lost == 2 * missing.len() as u64 || (tail && cut > 0),
                        "{what}: {lost} of {missing:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_file_cut_at_any_length_costs_what_was_behind_the_cut_and_no_other_segment() {
    let whole = queue();
    for (name, content) in whole.everything() {
        for length in 0..content.len() {
            let folder = whole.copy();
            folder.set_content(&name, content[..length].to_vec());
            let what = format!("{name}, {length} bytes");
            let (read, ..) = survive(&folder, &what);
            let others = whole.everything().len();
            assert!(folder.everything().len() + 1 >= others, "{what}");
            let kept = read.len() as u64;
            assert!(kept + 9 >= RECORDS - 4, "{what}: {read:?}");
        }
    }
}

#[test]
fn bytes_of_anything_in_place_of_a_segment_are_set_aside_and_at_most_four_are_kept() {
    let folder = queue();
    let names = folder.names().unwrap();
    for name in names.iter().filter(|name| name.ends_with("seg")) {
        folder.set_content(name, vec![0xa5; 5_000]);
    }
    let (read, ..) = survive(&folder, "noise");
    assert!(read.is_empty());
    for round in 0..6 {
        let name = folder.names().unwrap().into_iter().find(|name| name.ends_with("seg"));
        folder.set_content(&name.unwrap(), vec![0; 5_000]);
        let mut disk = open(&folder, false);
        append(&mut disk, round, 10, 1).unwrap();
    }
    assert_eq!(folder.names().unwrap().iter().filter(|name| name.ends_with("bad")).count(), 4);
}

#[test]
fn numbers_that_no_queue_can_reach_are_damage_though_their_checksum_is_right() {
    let folder = queue();
    let far = Mark { number: u64::MAX, event: u64::MAX };
    folder.set_content("position", far.encode());
    folder.set_content("recent", far.encode());
    let head = SegmentHead { first: far, after: 0 }.encode();
    folder.clone().create("ffffffffffffffff.seg").unwrap();
    folder.set_content("ffffffffffffffff.seg", [head, vec![0; 50]].concat());
    let (read, ..) = survive(&folder, "far");
    assert!(read.ends_with(&[RECORDS - 1]), "what was there is read: {read:?}");
    assert!(folder.names().unwrap().contains(&"ffffffffffffffff.seg.bad".to_owned()));
}

#[test]
fn a_good_record_of_an_older_number_in_the_last_segment_is_a_torn_tail() {
    let folder = queue();
    let whole = folder.everything();
    let mut segments = whole.iter().filter(|(name, _)| name.ends_with("seg"));
    let (first, last) = (&segments.next().unwrap().1, segments.next_back().unwrap());
    let old = &first[SEGMENT_HEAD as usize..]; // as a block that the file system gave out again
    folder.set_content(&last.0, [&last.1[..SEGMENT_HEAD as usize], old].concat());
    let (read, _, cut) = survive(&folder, "an older number");
    assert!(cut > 0 && !read.contains(&(RECORDS - 1)), "what was there is gone: {read:?}");
}
