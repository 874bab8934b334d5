//! The whole agent against faults: what reference/reliability-and-performance.md F asks for, one test a row, named here with
//! its number there. ../../faults/README.md says how they are judged and what is not tested yet.
//!
//! `SENTINEL_FAULTS=short|full|soak` switches them on (`tests/run faults` does), `SENTINEL_FAULT_SEED` makes a run again.
//! Each ends by itself: when its time is up, what it started is killed and it fails.
//!
//! Rows without a test, to be added with what they test: 2 for pushes (needs a push input), 19 (a receiver), 20
//! for SIGHUP (needs reload), 22 (models over restarts). Rows 3 and 4 are tests of the engine's queue. 15 has no EIO and no
//! read-only remount.

mod bed;
mod case;
mod clock;
mod disk;
mod identity;
mod kafka;
mod kills;
mod made;
mod memory;
mod models;
mod oracle;
mod outage;
mod proc;
mod rotation;
mod rules;
mod series;
mod sink;
mod soak;
mod stop;
mod wire;

use case::{Limits, run};

#[test] // 1
fn kill_loop() {
    run("kill_loop", &Limits(240, 900), kills::kill_loop);
}

#[test] // 1, 2: against real servers
fn kills_real() {
    run("kills_real", &Limits(240, 2400), kills::kills_real);
}

#[test] // 2: host metrics
fn metrics_survive_kills() {
    run("metrics_survive_kills", &Limits(240, 900), kills::metrics_survive_kills);
}

#[test] // 5
fn sink_503() {
    run("sink_503", &Limits(240, 2400), outage::sink_503);
}

#[test] // 6
fn retry_after() {
    run("retry_after", &Limits(240, 600), outage::retry_after);
}

#[test] // 6
fn refused_401() {
    run("refused_401", &Limits(240, 600), outage::refused_401);
}

#[test] // 6
fn poisoned_line() {
    run("poisoned_line", &Limits(240, 900), outage::poisoned_line);
}

#[test] // 6
fn poisoned_series() {
    run("poisoned_series", &Limits(240, 300), outage::poisoned_series);
}

#[test] // 7
fn hung() {
    run("hung", &Limits(240, 600), wire::hung);
}

#[test] // 7
fn drip() {
    run("drip", &Limits(240, 600), wire::drip);
}

#[test] // 7
fn reset_mid_body() {
    run("reset_mid_body", &Limits(240, 600), wire::reset_mid_body);
}

#[test] // 7
fn answer_lost() {
    run("answer_lost", &Limits(240, 600), wire::answer_lost);
}

#[test] // 7
fn half_open() {
    run("half_open", &Limits(240, 600), wire::half_open);
}

#[test] // 7
fn refused() {
    run("refused", &Limits(240, 600), wire::refused);
}

#[test] // 9
fn rotation_storm() {
    run("rotation_storm", &Limits(240, 600), rotation::rotation_storm);
}

#[test] // 9
fn rotated_while_stopped() {
    run("rotated_while_stopped", &Limits(240, 600), rotation::rotated_while_stopped);
}

#[test] // 10
fn copytruncate() {
    run("copytruncate", &Limits(240, 600), rotation::copytruncate);
}

#[test] // 10
fn regrown() {
    run("regrown", &Limits(240, 900), rotation::regrown);
}

#[test] // 10
fn copied_over() {
    run("copied_over", &Limits(240, 900), rotation::copied_over);
}

#[test] // 8
fn loki_window() {
    run("loki_window", &Limits(240, 900), clock::loki_window);
}

#[test] // 11
fn inode_reuse() {
    run("inode_reuse", &Limits(240, 900), identity::inode_reuse);
}

#[test] // 12
fn which_is_which() {
    run("which_is_which", &Limits(240, 300), identity::which_is_which);
}

#[test] // 13
fn strange_lines() {
    run("strange_lines", &Limits(240, 240), identity::strange_lines);
}

#[test] // 14
fn deleted_open() {
    run("deleted_open", &Limits(240, 1800), disk::deleted_open);
}

#[test] // 15
fn disk_full() {
    run("disk_full", &Limits(240, 900), disk::disk_full);
}

#[test] // 16
fn clock_jumps() {
    run("clock_jumps", &Limits(240, 600), clock::clock_jumps);
}

#[test] // 16
fn clock_put_right() {
    run("clock_put_right", &Limits(240, 240), clock::clock_put_right);
}

#[test] // 17
fn kafka_fleet() {
    run("kafka_fleet", &Limits(240, 900), kafka::kafka_fleet);
}

#[test] // 17
fn kafka_rebalance() {
    run("kafka_rebalance", &Limits(240, 600), kafka::kafka_rebalance);
}

#[test] // 18
fn memory() {
    run("memory", &Limits(240, 3600), memory::memory);
}

#[test] // 22
fn models() {
    run("models", &Limits(240, 600), models::models);
}

#[test] // 23
fn soak() {
    run("soak", &Limits(240, 7200), soak::soak);
}

#[test] // 24
fn least_privilege() {
    run("least_privilege", &Limits(240, 300), disk::least_privilege);
}

#[test] // 13
fn partial_lines() {
    run("partial_lines", &Limits(240, 600), kills::partial_lines);
}

#[test] // 20
fn sigterm() {
    run("sigterm", &Limits(240, 600), stop::sigterm);
}

#[test] // 21
fn old_state() {
    run("old_state", &Limits(60, 60), stop::old_state);
}

#[test] // 21
fn newer_queue() {
    run("newer_queue", &Limits(240, 240), stop::newer_queue);
}

#[test] // 21
fn newer_state() {
    run("newer_state", &Limits(60, 60), stop::newer_state);
}
