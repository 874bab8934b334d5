//! Drain (He, Zhu, Zheng, Lyu 2017, "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS): templates of
//! log lines, found online in a tree of fixed depth.
//!
//! A line goes by its severity, its program and its number of tokens, then by its first two words without masks, to a leaf;
//! there it joins the template that it is most like, or makes a new one. It differs from the paper in five things.
//! Tokens that are masks tell nothing and do not count for the likeness. A place becomes wild when three different
//! words were seen there, not two: `Expanding` and `Shrinking` are two messages, names of users are one. A place
//! that is wild does not count either, so that a line that was once of a template always is; instead a template may be
//! wild in at most half of its telling places. Lines of other severities are never joined. And templates are bounded:
//! those seen once go first, then those that were not seen the longest.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::level::Level;
use super::text::{Line, WILD, WILD_TEXT};

/// Words that lead to a leaf: the paper's depth 4 is two.
const LAYERS: usize = 2;
/// Children of a node; the tokens of any more share one.
const MAX_CHILDREN: u32 = 100;
/// Lines whose template is known by their hash.
const CACHE: usize = 256;
/// Templates given up whose return is not news, as a multiple of those kept.
const REMEMBERED: usize = 8;

/// A template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Template {
    /// Of its text when it was made; it stays when the template becomes more general.
    pub(super) id: u64,
    /// One hash a token; `WILD` where lines differ.
    hashes: Box<[u64]>,
    /// Whether the token tells something, one each.
    tells: Box<[bool]>,
    /// Whether some of it is masked, one each: then two are enough to make the place wild.
    masked: Box<[bool]>,
    /// Their texts.
    pub(super) tokens: Vec<Box<str>>,
    pub(super) level: Level,
    /// Lines since it was made.
    pub(super) count: u64,
    /// It was given up once and came back: then it is worth keeping.
    returned: bool,
    /// Of which windows it is among the most frequent: a decayed count, kept by the group.
    pub(super) weight: f64,
    /// The tree's line number at which it was last seen.
    last: u64,
    /// The way to its leaf.
    way: [u64; LAYERS + 1],
}

/// How like a template a line is.
#[derive(Clone, Copy, Debug)]
struct Likeness {
    /// Of the telling places that are not wild, the share that is the same.
    share: f64,
    /// Places that would be wild with it.
    wild: u32,
    /// The places, as bits, where two words differ.
    words: u64,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is of a template that is known.
    Known(u32),
    /// It is the first of its template. A template of this place may have been given up for it.
    New {
        /// The place of the new template.
        slot: u32,
        /// Another template stood here and was given up.
        replaced: bool,
        /// Its template was known once and given up since.
        returned: bool,
    },
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) slots: Vec<Template>,
    leaves: HashMap<u64, Vec<u32>, FixedState>,
    children: HashMap<u64, u32, FixedState>,
    /// By a line's hash: its template's place and id.
    cache: Vec<(u64, u32, u64)>,
    max: usize,
    similarity: f64,
    lines: u64,
    /// Places of templates that became part of another.
    free: Vec<u32>,
    /// Which became part of which; to be taken after each line.
    pub(super) absorbed: Vec<(u32, u32)>,
    remembered: HashSet<u64, FixedState>,
    remembered_order: VecDeque<u64>,
    pub(super) evictions: u64,
}

/// The id of a template, from its first form: FNV-1a (Fowler, Noll, Vo), which no version of a library changes.
pub(super) fn id(level: Level, tokens: &[Box<str>]) -> u64 {
    let bytes = tokens.iter().flat_map(|token| token.bytes().chain([b' ']));
    let start = 0xCBF2_9CE4_8422_2325 ^ (level as u64);
    bytes.fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn step(way: u64, token: u64) -> u64 {
    (way.rotate_left(29) ^ token).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

impl Tree {
    pub(super) fn new(max: usize, similarity: f64) -> Self {
        Tree {
            slots: Vec::new(),
            leaves: HashMap::default(),
            children: HashMap::default(),
            cache: Vec::new(),
            max,
            similarity,
            lines: 0,
            free: Vec::new(),
            absorbed: Vec::new(),
            remembered: HashSet::default(),
            remembered_order: VecDeque::new(),
            evictions: 0,
        }
    }

    /// Finds the template of a line, or makes it.
    pub(super) fn find(&mut self, line: &Line, level: Level) -> Found {
        self.lines += 1;
        let key = step(line.hash, level as u64 + 1);
        let cached = self.cache.get(key as usize % CACHE).copied();
        if let Some((hash, slot, id)) = cached
            && hash == key
            && let Some(template) = self.slots.get_mut(slot as usize)
            && template.id == id
        {
            template.count += 1;
            template.last = self.lines;
            return Found::Known(slot);
        }
        let way = self.way(line, level, false);
        let leaf = self.leaves.get(&way[LAYERS]);
        let known = leaf.and_then(|leaf| self.best(leaf, line));
        let found = match known.or_else(|| self.join(&way, line)) {
            Some(slot) => {
                self.slots[slot as usize].take(line, self.lines);
                Found::Known(slot)
            }
            None => self.make(line, level),
        };
        let (Found::Known(slot) | Found::New { slot, .. }) = found;
        if self.cache.is_empty() {
            self.cache.resize(CACHE, (0, u32::MAX, 0));
        }
        self.cache[key as usize % CACHE] = (key, slot, self.slots[slot as usize].id);
        found
    }

    /// The nodes that the line passes, the last of which is its leaf. Makes them when asked to.
    fn way(&mut self, line: &Line, level: Level, makes: bool) -> [u64; LAYERS + 1] {
        let mut at = step(step(line.tokens.len() as u64, level as u64), line.program);
        let mut way = [at; LAYERS + 1];
        let mut telling = line.tokens.iter().filter(|token| !token.is_masked);
        for node in &mut way[1..] {
            let token = telling.next().map_or(WILD, |token| token.hash);
            let (own, shared) = (step(at, token), step(at, WILD));
            let has_room = self.children.get(&at).is_none_or(|children| *children < MAX_CHILDREN);
            let next = if self.is_node(own) || (makes && has_room) { own } else { shared };
            if makes && !self.is_node(next) {
                *self.children.entry(at).or_insert(0) += 1;
            }
            at = next;
            *node = at;
        }
        way
    }

    fn is_node(&self, node: u64) -> bool {
        self.children.contains_key(&node) || self.leaves.contains_key(&node)
    }

    /// The most like template of a leaf that needs no word to become wild; among equals the least wild, then the oldest
    /// place.
    fn best(&self, leaf: &[u32], line: &Line) -> Option<u32> {
        let mut best: Option<(f64, u32, u32)> = None;
        for slot in leaf {
            let Some(like) = self.slots[*slot as usize].likeness(line) else { continue };
            let is_better = best.is_none_or(|(most, least, _)| {
                like.share > most || (like.share == most && like.wild < least)
            });
            if like.words == 0 && like.share >= self.similarity && is_better {
                best = Some((like.share, like.wild, *slot));
            }
        }
        best.map(|(_, _, slot)| slot)
    }

    /// Two templates that differ from the line in the same words become one that is wild there.
    fn join(&mut self, way: &[u64; LAYERS + 1], line: &Line) -> Option<u32> {
        let leaf = self.leaves.get(&way[LAYERS])?;
        let like = |slot: &u32| {
            let like = self.slots[*slot as usize].likeness(line)?;
            (like.share >= self.similarity).then_some((like.words, *slot))
        };
        let mut likely: Vec<(u64, u32)> = leaf.iter().filter_map(like).collect();
        likely.sort_unstable_by_key(|(words, slot)| (words.count_ones(), *words, *slot));
        let same = likely.chunk_by(|a, b| a.0 == b.0).find(|same| same.len() >= 2)?;
        let slots: Vec<u32> = same.iter().map(|(_, slot)| *slot).collect();
        let oldest = |slot: &u32| (std::cmp::Reverse(self.slots[*slot as usize].count), *slot);
        let first = slots.iter().copied().min_by_key(oldest)?;
        let mut joined = self.slots[first as usize].clone();
        for slot in slots.iter().filter(|slot| **slot != first) {
            joined.absorb(&self.slots[*slot as usize]);
        }
        joined.likeness(line)?; // it would be too wild
        self.slots[first as usize] = joined;
        for slot in slots.into_iter().filter(|slot| *slot != first) {
            self.leave(slot);
            self.slots[slot as usize] = Template::default();
            self.free.push(slot);
            self.absorbed.push((slot, first));
        }
        Some(first)
    }

    fn make(&mut self, line: &Line, level: Level) -> Found {
        let is_full = self.free.is_empty() && self.slots.len() >= self.max;
        let given_up = is_full.then(|| self.give_up());
        let place = given_up.or_else(|| self.free.pop());
        let way = self.way(line, level, true);
        let tokens: Vec<Box<str>> = (0..line.tokens.len())
            .map(|token| String::from_utf8_lossy(line.token(token)).into())
            .collect();
        let id = id(level, &tokens);
        let returned = self.remembered.contains(&id);
        let template = Template {
            id,
            returned,
            hashes: line.tokens.iter().map(|token| token.hash).collect(),
            tells: line.tokens.iter().map(|token| !token.is_plain).collect(),
            masked: line.tokens.iter().map(|token| token.is_masked).collect(),
            tokens,
            level,
            count: 1,
            weight: 0.0,
            last: self.lines,
            way,
        };
        let slot = self.put(template, place);
        Found::New { slot, replaced: given_up.is_some(), returned }
    }

    fn put(&mut self, template: Template, place: Option<u32>) -> u32 {
        let leaf = template.way[LAYERS];
        let slot = place.unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = template,
            None => self.slots.push(template),
        }
        self.leaves.entry(leaf).or_default().push(slot);
        slot
    }

    /// Takes a template out of the tree; its place is to be filled at once.
    fn give_up(&mut self) -> u32 {
        let order = |(_, it): &(usize, &Template)| (it.count > 1 || it.returned, it.last);
        let oldest = self.slots.iter().enumerate().min_by_key(order).map_or(0, |(slot, _)| slot);
        self.evictions += 1;
        self.remember(self.slots[oldest].id);
        self.leave(oldest as u32);
        oldest as u32
    }

    /// Takes a template out of its leaf, and the nodes that nothing is left below.
    fn leave(&mut self, slot: u32) {
        let way = self.slots[slot as usize].way;
        let leaf = self.leaves.entry(way[LAYERS]).or_default();
        leaf.retain(|it| *it != slot);
        let mut is_empty = leaf.is_empty();
        if is_empty {
            self.leaves.remove(&way[LAYERS]);
        }
        for node in way[..LAYERS].iter().rev() {
            if !is_empty {
                break;
            }
            let children = self.children.entry(*node).or_insert(1);
            *children = children.saturating_sub(1);
            is_empty = *children == 0;
            if is_empty {
                self.children.remove(node);
            }
        }
    }

    /// The templates that are.
    pub(super) fn templates(&self) -> impl Iterator<Item = (usize, &Template)> {
        self.slots.iter().enumerate().filter(|(_, it)| it.count > 0)
    }

    /// A template whose return, once it is given up, is no news.
    pub(super) fn remember(&mut self, id: u64) {
        if !self.remembered.insert(id) {
            return;
        }
        self.remembered_order.push_back(id);
        if self.remembered_order.len() > self.max * REMEMBERED
            && let Some(id) = self.remembered_order.pop_front()
        {
            self.remembered.remove(&id);
        }
    }

    /// Those remembered, the oldest first.
    pub(super) fn remembered(&self) -> impl Iterator<Item = u64> {
        self.remembered_order.iter().copied()
    }

    /// Puts back a template of a snapshot; false when it does not fit.
    pub(super) fn restore(&mut self, template: Template) -> bool {
        let width = template.tokens.len();
        let is_sound = template.hashes.len() == width
            && template.tells.len() == width
            && template.masked.len() == width;
        if !is_sound || self.slots.len() >= self.max {
            return false;
        }
        if template.count == 0 {
            self.free.push(self.slots.len() as u32);
            self.slots.push(Template::default());
            return true;
        }
        self.lines = self.lines.max(template.last);
        let way = template.way;
        for layer in 0..LAYERS {
            if !self.is_node(way[layer + 1]) {
                *self.children.entry(way[layer]).or_insert(0) += 1;
            }
            if layer + 1 < LAYERS {
                self.children.entry(way[layer + 1]).or_insert(0);
            }
        }
        self.put(template, None);
        true
    }
}

#[cfg(test)]
impl Tree {
    /// Every template is in its leaf, every leaf on its way, and nothing is left of those that were given up.
    pub(super) fn is_consistent(&self) -> bool {
        let in_leaf = |(slot, it): (usize, &Template)| {
            self.leaves.get(&it.way[LAYERS]).is_some_and(|leaf| leaf.contains(&(slot as u32)))
        };
        let live = self.templates().count();
        let in_leaves: usize = self.leaves.values().map(Vec::len).sum();
        let nodes: usize = self.children.values().map(|children| *children as usize).sum();
        let ways: HashSet<u64> =
            self.templates().flat_map(|(_, it)| it.way[1..].iter().copied()).collect();
        self.templates().all(in_leaf)
            && in_leaves == live
            && live + self.free.len() == self.slots.len()
            && nodes == ways.len()
    }
}

impl Template {
    /// How like it a line is; `None` when it can never be of this template.
    fn likeness(&self, line: &Line) -> Option<Likeness> {
        if self.hashes.len() != line.tokens.len() {
            return None;
        }
        let (mut same, mut differs, mut wild, mut words) = (0_u32, 0_u32, 0_u32, 0);
        for (at, (hash, token)) in self.hashes.iter().zip(&line.tokens).enumerate() {
            if *hash == WILD {
                wild += 1;
            } else if *hash != token.hash {
                differs += 1;
                words |= u64::from(!token.is_masked && !self.masked[at]) << at;
            } else {
                same += u32::from(self.tells[at]);
            }
        }
        wild += differs;
        let share = if differs == 0 { 1.0 } else { f64::from(same) / f64::from(same + differs) };
        (differs == 0 || wild <= same).then_some(Likeness { share, wild, words })
    }

    /// Becomes as wild as both, and wild where they differ.
    fn absorb(&mut self, other: &Template) {
        self.count += other.count;
        self.weight += other.weight;
        self.last = self.last.max(other.last);
        for at in 0..self.hashes.len() {
            if self.hashes[at] != other.hashes[at] {
                self.hashes[at] = WILD;
                self.tokens[at] = WILD_TEXT.into();
            }
        }
    }

    /// Takes a line that is like it.
    fn take(&mut self, line: &Line, number: u64) {
        self.count += 1;
        self.last = number;
        for (at, hash) in self.hashes.iter_mut().enumerate() {
            if *hash != WILD && *hash != line.tokens[at].hash {
                *hash = WILD;
                self.tokens[at] = WILD_TEXT.into();
            }
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for token in &self.tokens {
            if !text.is_empty() && !text.ends_with('=') {
                text.push(' ');
            }
            text.push_str(token);
        }
        text
    }
}
