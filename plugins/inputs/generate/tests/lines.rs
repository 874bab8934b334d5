//! Lines: reproducible, numbered without a gap, and as many as were asked for.

use std::collections::BTreeSet;

use super::harness::{START_NS, due, generator, lines, pieces, text};
use crate::generate::generator::{LONGEST_LINE, PIECE_LINES};

#[test]
fn the_first_lines_of_seed_1_are_these() {
    let golden = include_str!("golden.txt");
    let first = |options: &str| lines(options, 1)[..5].join("\n") + "\n";
    let shown = first("rate = 50") + &first("rate = 50\nkinds = [\"app\"]");
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/generate/tests/golden.txt");
        std::fs::write(path, &shown).unwrap();
    }
    assert_eq!(shown, golden);
}

#[test]
fn equal_seeds_make_equal_bytes_and_others_do_not() {
    let all =
        |seed: u64| lines(&format!("seed = {seed}\nkinds = [\"web\", \"app\"]\nhosts = 3"), 20);
    assert_eq!(all(7), all(7));
    let (seven, eight) = (all(7), all(8));
    assert_eq!(seven.len(), eight.len());
    assert!(seven.iter().zip(&eight).all(|(a, b)| a != b));
}

#[test]
fn hosts_and_kinds_do_not_repeat_each_other() {
    let lines = lines("hosts = 2\nrate = 1000", 10);
    // Two hosts write line 5 each, at equal times; what else is in them differs.
    let fifth: Vec<&String> = lines.iter().filter(|line| line.contains("seq=5 ")).collect();
    assert_eq!(fifth.len(), 2);
    assert_ne!(fifth[0], fifth[1]);
}

#[test]
fn a_piece_written_again_is_the_same_whatever_was_written_between() {
    let options = "kinds = [\"web\", \"app\"]\nrate = 400\nanomalies = [\"error_burst@2s+3s\"]\nanomaly_every = \"1m\"";
    let mut generator = generator(options);
    let pieces = pieces(&due(&mut generator, 90));
    let first: Vec<String> = pieces.iter().map(|piece| text(&mut generator, &[*piece])).collect();
    for (piece, first) in pieces.iter().zip(&first).rev() {
        assert_eq!(text(&mut generator, &[*piece]), *first);
    }
}

#[test]
fn every_line_has_its_number_and_none_is_missing() {
    let options = "rate = 12000\nanomalies = [\"path_scan@1s+1s\", \"new_client@2s+1s\"]";
    let numbers: Vec<u64> = lines(options, 3)
        .iter()
        .map(|line| {
            let rest = line.split_once("seq=").unwrap().1;
            rest.split(' ').next().unwrap().parse().unwrap()
        })
        .collect();
    assert!(numbers.len() > 36_000);
    assert!(numbers.iter().enumerate().all(|(at, number)| at as u64 == *number));
    let app = lines("kinds = [\"app\"]", 5);
    assert!(app.iter().enumerate().all(|(at, line)| line.ends_with(&format!("\"seq\":{at}}}"))));
}

#[test]
fn the_rate_is_kept_to_the_line() {
    for (options, seconds, count) in [
        ("", 10, 1000),
        ("rate = 1", 60, 60),
        ("rate = 7", 60, 420),
        ("rate = 123457", 10, 1_234_570),
        ("rate = 1000\nkinds = [\"web\", \"app\"]\nhosts = 2", 10, 10_000),
        ("rate = 1000\nlines = 1234", 10, 1234),
    ] {
        let mut generator = generator(options);
        let made: u64 = pieces(&due(&mut generator, seconds)).iter().map(|piece| piece.lines).sum();
        assert_eq!(made, count, "{options}");
        assert_eq!(generator.is_done(), options.contains("lines"), "{options}");
    }
}

#[test]
fn the_day_has_a_low_night_and_two_peaks() {
    let mut generator = generator("rate = 2\nprofile = \"day\"");
    let mut hours = [0; 24];
    for piece in pieces(&due(&mut generator, 86_400)) {
        hours[((piece.time_ns - START_NS) / 3_600_000_000_000) as usize] += piece.lines;
    }
    let total: u64 = hours.iter().sum();
    assert!((172_000..173_600).contains(&total), "the mean is the rate: {total}");
    assert!(hours[3] < 2200, "a quarter at night: {hours:?}");
    assert!(
        hours[11] > hours[14] + 300 && hours[18] > hours[14] + 300 && hours[11] > 9500,
        "{hours:?}"
    );
}

#[test]
fn no_line_is_longer_than_the_memory_that_is_asked_for_it() {
    let options = "rate = 100000\nkinds = [\"web\", \"app\"]";
    let longest = lines(options, 2).iter().map(String::len).max().unwrap();
    // What a line of a far number and a slow answer has more: 20 digits for 6, 10 for 2.
    assert!(longest + 24 < LONGEST_LINE, "{longest}");
}

#[test]
fn with_rate_0_there_is_always_more_and_its_time_is_now() {
    let mut generator = generator("rate = 0\nhosts = 2\nlines = 2500");
    let mut made = Vec::new();
    for now_ns in 0..10 {
        made.extend(generator.next(START_NS + now_ns));
    }
    let pieces = pieces(&made);
    let counts: Vec<_> = pieces.iter().map(|piece| (piece.source, piece.lines)).collect();
    assert_eq!(counts, [(0, PIECE_LINES), (1, PIECE_LINES), (0, 500)]);
    assert!(pieces.iter().enumerate().all(|(at, piece)| piece.time_ns == START_NS + at as i64));
    assert!(generator.is_done());
}

#[test]
fn times_are_in_order_and_clients_come_and_go() {
    let made = pieces(&due(&mut generator("rate = 40000"), 3));
    let times = made.iter().flat_map(|piece| {
        let time = move |nth| piece.time_ns + nth as i64 * piece.gap_ns;
        (0..piece.lines).map(time)
    });
    assert!(times.collect::<Vec<_>>().is_sorted());
    let clients = |lines: &[String]| -> BTreeSet<String> {
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let all = lines("rate = 20", 1500);
    let (first, last) = (clients(&all[..6000]), clients(&all[24_000..]));
    assert!((300..=410).contains(&first.len()), "{}", first.len());
    let stayed = first.intersection(&last).count();
    assert!((330..first.len() - 10).contains(&stayed), "{stayed} of {}", first.len());
}
