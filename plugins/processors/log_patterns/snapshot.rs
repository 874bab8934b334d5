//! What a restart needs: the templates, the windows that are not over, and what is still to be told.
//!
//! A line of text with a mark, a version and a checksum, then JSON. After a crash it may be five minutes old: its
//! windows are then dropped, unless lines of the same window come first, and an event may be told twice.

use sentinel_contract::Cause;
use serde::{Deserialize, Serialize};

use super::Patterns;
use super::drain::Template;
use super::group::Group;
use super::news::News;
use super::window::Window;
use crate::watermark::Start;

const MAGIC: &str = "sentinel-log-patterns";
/// Also of the masks and hashes: when they change, templates of an older version would match no line.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    window_ns: i64,
    group_by: Vec<Box<str>>,
    groups: Vec<SavedGroup>,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    values: Vec<Box<str>>,
    is_other: bool,
    since_ns: i64,
    last_window: i64,
    next: i64,
    templates: Vec<Template>,
    remembered: Vec<u64>,
    evictions: u64,
    shown: Vec<u64>,
    news: News,
    windows: Vec<Window>,
}

fn save(group: &Group, is_other: bool) -> SavedGroup {
    SavedGroup {
        values: group.values.clone(),
        is_other,
        since_ns: group.since_ns,
        last_window: group.last_window,
        next: group.next,
        templates: group.tree.slots.clone(),
        remembered: group.tree.remembered().collect(),
        evictions: group.tree.evictions,
        shown: group.written.shown(),
        news: group.news.clone(),
        windows: group.windows.clone(),
    }
}

impl Patterns {
    pub(super) fn save(&self) -> Option<Vec<u8>> {
        let spoken = |(_, group): &(usize, &Group)| group.start != Start::Fresh;
        let groups = self.groups.all.iter().enumerate().filter(spoken);
        let saved = Saved {
            window_ns: self.shared.pace.window_ns,
            group_by: self.groups.by().to_vec(),
            groups: groups.map(|(place, group)| save(group, self.groups.is_other(place))).collect(),
        };
        if saved.groups.is_empty() {
            return None;
        }
        let body = serde_json::to_string(&saved).ok()?;
        let checksum = crc32fast::hash(body.as_bytes());
        Some(format!("{MAGIC} {VERSION} {checksum:08x}\n{body}").into_bytes())
    }

    pub(super) fn load(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let text = std::str::from_utf8(snapshot)?;
        let (head, body) = text.split_once('\n').unwrap_or_default();
        let checksum = crc32fast::hash(body.as_bytes());
        anyhow::ensure!(head.starts_with(MAGIC), "this is not the state of log_patterns");
        anyhow::ensure!(
            head.split(' ').nth(1) == Some(VERSION.to_string().as_str()),
            "the state is of another version than {VERSION}: {head}"
        );
        anyhow::ensure!(
            head.ends_with(&format!(" {checksum:08x}")),
            "the state's checksum is wrong"
        );
        let saved: Saved = serde_json::from_str(body)?;
        let is_same =
            saved.window_ns == self.shared.pace.window_ns && saved.group_by == self.groups.by();
        anyhow::ensure!(is_same, "the state was made with another window or group_by");
        for group in saved.groups {
            self.load_group(group)?;
        }
        Ok(())
    }

    fn load_group(&mut self, saved: SavedGroup) -> Result<(), Cause> {
        let window_ns = self.shared.pace.window_ns;
        let is_of_time = |index: i64| index.checked_mul(window_ns).is_some();
        let group = self.groups.restore(saved.values, saved.is_other, &self.shared);
        let group = group.ok_or_else(|| anyhow::anyhow!("the state has other groups"))?;
        let (max, templates) = (self.shared.max_patterns, saved.templates.len());
        anyhow::ensure!(is_of_time(saved.next), "the state is of another time");
        // `max_patterns` may be smaller now: the most frequent are kept, and what refers to places is dropped.
        let mut kept = saved.templates;
        if templates > max {
            kept.sort_by_key(|it| std::cmp::Reverse(it.count));
            kept.truncate(max);
        }
        for template in kept {
            anyhow::ensure!(group.tree.restore(template), "the state has a broken template");
        }
        saved.remembered.into_iter().for_each(|id| group.tree.remember(id));
        group.tree.evictions = saved.evictions;
        for id in saved.shown.into_iter().take(self.shared.top) {
            if let Some(slot) = group.tree.slots.iter().position(|it| it.id == id) {
                group.written.show(slot, id);
            }
        }
        group.since_ns = saved.since_ns;
        group.last_window = saved.last_window;
        group.next = saved.next;
        group.start = self.shared.resumed();
        if templates <= max {
            group.news = saved.news;
            group.windows = saved.windows;
            group.windows.sort_by_key(|window| window.index);
            group.windows.dedup_by_key(|window| window.index);
            group.windows.retain(|window| window.index >= saved.next && is_of_time(window.index));
        }
        Ok(())
    }
}
