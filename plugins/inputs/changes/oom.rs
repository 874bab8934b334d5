//! Processes that the kernel killed for lack of memory: the counter `oom_kill` of /proc/vmstat, and of which unit it
//! was from `memory.events` of its control group (version 2).

use std::collections::BTreeMap;

use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News, list};
use super::proc;
use super::roots::Roots;
use super::units::{each_unit, system_slice};

/// The watcher.
pub(super) struct Oom {
    roots: Roots,
    killed: Option<u64>,
    of_units: BTreeMap<String, u64>,
}

impl Oom {
    pub(super) fn new(roots: &Roots) -> Self {
        Oom { roots: roots.clone(), killed: None, of_units: BTreeMap::new() }
    }

    fn scan(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        if let Some(slice) = system_slice(&self.roots.sys) {
            each_unit(&slice, 1, &mut |name, path| {
                let events = proc::read(&path.join("memory.events"));
                if let Some(killed) = events.and_then(|text| proc::counter(&text, "oom_kill")) {
                    found.insert(name.to_owned(), killed);
                }
            });
        }
        found
    }
}

impl Watch for Oom {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let vmstat = proc::read(&self.roots.proc.join("vmstat")).unwrap_or_default();
        let Some(killed) = proc::counter(&vmstat, "oom_kill") else { return Ok(()) };
        let before = self.killed.replace(killed);
        let Some(more) = before.and_then(|before| killed.checked_sub(before)) else {
            self.of_units = self.scan();
            return Ok(());
        };
        if more == 0 {
            return Ok(());
        }
        // Asked only now: a unit that was started since has no count before, and has begun with none.
        let found = self.scan();
        let grew = |(name, killed): (&String, &u64)| {
            let before = self.of_units.get(name).copied().unwrap_or(0);
            (*killed > before).then(|| name.clone())
        };
        let units: Vec<String> = found.iter().filter_map(grew).collect();
        self.of_units = found;
        let processes =
            if more == 1 { "1 process".to_owned() } else { format!("{more} processes") };
        let of = if units.is_empty() { String::new() } else { format!(" of {}", list(&units, 3)) };
        news.tell(Change {
            subject: units.first().cloned().unwrap_or_else(|| "host".to_owned()),
            detail: "killed for lack of memory".to_owned(),
            sentence: format!("the kernel killed {processes}{of} for lack of memory"),
            time_ms: None,
        });
        Ok(())
    }
}
