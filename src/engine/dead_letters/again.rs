//! Letters sent again, and removed, by a person's order.
//!
//! A letter goes into its output's queue with a receipt, and stays in its file until that is answered: delivered settles
//! it; refused again leaves it with the new answer (the output writes that, under the letter's old name, before the old
//! line is settled); whatever ends the agent in between leaves it as it was. So it is sent at least once. "Delivered"
//! is also said when the queue has it safely on disk, as of any other entry.
//!
//! The agent keeps no list of what is to be sent: an order is done as far as its output's share of memory goes, and
//! the answer says what is left, for the command to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_contract::{Batch, Events, Fate, Kinds, Piece, Receipt};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::walk::{Line, Position, Which, letter, walk};
use super::{DeadLetters, Flying, Letter, Purged, Summary, address, locked};
use crate::config::Role;
use crate::queue::{Entry, Queue};

/// Of each output, so many bytes of letters are on their way at once.
const AHEAD: usize = 4 << 20;
/// What a letter occupies beside its text.
const OVERHEAD: usize = 512;
/// How long an order waits for the answers of the backends.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a person may do with letters. As JSON: `{"retry":{"which":"all","until":null}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Sends them to their outputs again.
    Retry {
        /// Which.
        which: Which,
        /// Only those before it: what has been refused again since an earlier answer is not sent a third time.
        until: Option<Position>,
    },
    /// Removes them for good.
    Purge {
        /// Which.
        which: Which,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Letters given to their outputs now.
    pub sent: u64,
    /// Of these, delivered by now.
    pub delivered: u64,
    /// Of these, refused again by now.
    pub refused: u64,
    /// Of these, given back unanswered: they stay.
    pub kept: u64,
    /// On their way already, by an earlier order.
    pub already: u64,
    /// Not sent yet, as enough is on its way: to be asked again.
    pub left: u64,
    /// Written by a newer agent, or changed into something that no event can be: they stay.
    pub unreadable: u64,
    /// Names that no letter has.
    pub missing: Vec<String>,
    /// Letters whose output is not running, or takes no such events any more, or that a transform panicked over: they stay.
    pub homeless: BTreeMap<String, u64>,
    /// The outputs that are running.
    pub outputs: Vec<String>,
    /// How the outputs are that have not answered.
    pub waiting: BTreeMap<String, String>,
    /// For the next order of the same command.
    pub until: Option<Position>,
    /// What was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<Purged>,
}

/// The answers to the letters of one order.
#[derive(Default)]
struct Round {
    heard: Mutex<Vec<(usize, Position, Fate)>>,
    arrived: Notify,
}

/// What has been answered.
#[derive(Clone, Copy, Default)]
struct Landed {
    delivered: u64,
    refused: u64,
    kept: u64,
}

impl Landed {
    fn all(self) -> u64 {
        self.delivered + self.refused + self.kept
    }
}

impl DeadLetters {
    /// Does it. Returns within a few seconds; what is on its way then is settled when it is answered.
    pub(crate) async fn obey(self: &Arc<Self>, order: Order) -> Result<Told, String> {
        match order {
            Order::Retry { which, until } => self.retry(which, until).await,
            Order::Purge { which } => {
                let letters = Arc::clone(self);
                let purged = blocking(move || {
                    let _no_walk = locked(&letters.turn);
                    locked(&letters.store).purge(&which)
                });
                let purged = purged.await?;
                tracing::warn!(letters = purged.letters, "dead letters were removed by command");
                Ok(Told { purged: Some(purged), ..Told::default() })
            }
        }
    }

    async fn retry(
        self: &Arc<Self>,
        which: Which,
        until: Option<Position>,
    ) -> Result<Told, String> {
        let (letters, round) = (Arc::clone(self), Arc::new(Round::default()));
        let sending = Arc::clone(&round);
        let mut told = blocking(move || letters.send(&which, until, &sending)).await?;
        if told.sent > 0 {
            tracing::info!(letters = told.sent, "dead letters are sent again by command");
        }
        let (counts, mut landed) = watch::channel(Landed::default());
        tokio::spawn(Arc::clone(self).land(round, told.sent, counts));
        let all = landed.wait_for(|landed| landed.all() == told.sent);
        drop(tokio::time::timeout(PATIENCE, all).await); // late or not
        let Landed { delivered, refused, kept } = *landed.borrow();
        (told.delivered, told.refused, told.kept) = (delivered, refused, kept);
        if delivered + refused + kept < told.sent || told.already > 0 {
            told.waiting = self.waiting();
        }
        Ok(told)
    }

    /// Puts letters into their queues, as far as there is room.
    fn send(&self, which: &Which, until: Option<Position>, round: &Arc<Round>) -> io::Result<Told> {
        let _turn = locked(&self.turn);
        let until = match until {
            Some(until) => until,
            None => locked(&self.store).end()?,
        };
        let mut sending = Sending {
            letters: self,
            round,
            queues: self.queues(),
            used: BTreeMap::new(),
            flying: BTreeSet::new(),
            told: Told { until: Some(until), ..Told::default() },
        };
        for flying in locked(&self.flying).values() {
            *sending.used.entry(flying.plugin.clone()).or_insert(0) += flying.bytes;
            sending.flying.insert(flying.position);
        }
        sending.told.outputs = sending.queues.keys().cloned().collect();
        let mut missing: BTreeSet<String> = match which {
            Which::Ids(ids) => ids.iter().cloned().collect(),
            Which::All | Which::Output(_) => BTreeSet::new(),
        };
        walk(&self.state_dir, |position, line| {
            match line {
                Line::Letter(summary, text) if which.contains(&summary) => {
                    missing.remove(&*summary.id);
                    if position < until {
                        sending.letter(position, &summary, text);
                    }
                }
                Line::Newer(summary) if which.contains(&summary) => {
                    missing.remove(&*summary.id);
                    sending.told.unreadable += 1;
                }
                Line::Letter(..) | Line::Newer(_) | Line::Unreadable => {}
            }
            ControlFlow::Continue(())
        })?;
        sending.told.missing = missing.into_iter().collect();
        Ok(sending.told)
    }

    fn queues(&self) -> BTreeMap<String, (Arc<Queue>, Kinds)> {
        let queues = locked(&self.queues);
        let running = queues.iter().filter_map(|(alias, (queue, accepts))| {
            Some((alias.clone(), (queue.upgrade()?, *accepts)))
        });
        running.collect()
    }

    /// Settles letters as they are answered, until all are.
    async fn land(self: Arc<Self>, round: Arc<Round>, sent: u64, counts: watch::Sender<Landed>) {
        let mut landed = Landed::default();
        while landed.all() < sent {
            round.arrived.notified().await;
            let heard = std::mem::take(&mut *locked(&round.heard));
            for (_, _, fate) in &heard {
                match fate {
                    Fate::Delivered => landed.delivered += 1,
                    Fate::Rejected => landed.refused += 1,
                    Fate::Lost => landed.kept += 1,
                }
            }
            let (letters, last) = (Arc::clone(&self), landed.all() == sent);
            if let Err(error) = blocking(move || letters.settle(&heard, last)).await {
                tracing::error!(%error, "dead letters that were answered cannot be settled: they stay");
            }
            counts.send_replace(landed);
        }
    }

    fn settle(&self, heard: &[(usize, Position, Fate)], last: bool) -> io::Result<()> {
        let answered = heard.iter().filter(|(_, _, fate)| *fate != Fate::Lost);
        let positions: Vec<Position> = answered.map(|(_, position, _)| *position).collect();
        let settled = locked(&self.store).settle(&positions);
        // Not while the files are walked through: what was read as waiting must still be known to be on its way.
        let _turn = locked(&self.turn);
        for (batch, ..) in heard {
            locked(&self.flying).remove(batch);
        }
        settled?;
        if last { locked(&self.store).tidy() } else { Ok(()) }
    }

    /// How the outputs are that have letters on their way.
    fn waiting(&self) -> BTreeMap<String, String> {
        let aliases: BTreeSet<String> =
            locked(&self.flying).values().map(|flying| flying.plugin.clone()).collect();
        let plugins = self.telemetry.plugins();
        let outputs = plugins
            .iter()
            .filter(|plugin| plugin.role == Role::Output && aliases.contains(&*plugin.alias));
        let words = outputs.map(|plugin| {
            let error = plugin.counters.last_error();
            let error = error.map_or_else(String::new, |(_, words)| format!(": {words}"));
            (plugin.alias.to_string(), format!("{}{error}", plugin.condition().word()))
        });
        words.collect()
    }
}

/// One walk through the files.
struct Sending<'a> {
    letters: &'a DeadLetters,
    round: &'a Arc<Round>,
    queues: BTreeMap<String, (Arc<Queue>, Kinds)>,
    /// Bytes on their way, by output.
    used: BTreeMap<String, usize>,
    flying: BTreeSet<Position>,
    told: Told,
}

impl Sending<'_> {
    fn letter(&mut self, position: Position, summary: &Summary<'_>, text: &[u8]) {
        let alias = &*summary.plugin;
        let is_output = summary.role == Role::Output.word();
        let Some((queue, accepts)) = self.queues.get(alias).filter(|_| is_output) else {
            *self.told.homeless.entry(alias.to_owned()).or_insert(0) += 1;
            return;
        };
        if self.flying.contains(&position) {
            self.told.already += 1;
            return;
        }
        let bytes = text.len() + OVERHEAD;
        let used = self.used.entry(alias.to_owned()).or_insert(0);
        if *used > 0 && *used + bytes > AHEAD {
            self.told.left += 1;
            return;
        }
        let read =
            letter(text).and_then(|letter| Some((letter.event.clone().into_events()?, letter)));
        let Some((events, letter)) = read else {
            self.told.unreadable += 1;
            return;
        };
        if !accepts.contains(events.kind()) {
            // Another output has the name now, and would pass over what it does not know.
            *self.told.homeless.entry(alias.to_owned()).or_insert(0) += 1;
            return;
        }
        let (entry, flying) = self.round.entry(position, bytes, events, letter);
        *used += bytes;
        self.told.sent += 1;
        locked(&self.letters.flying).insert(address(&flying.batch), flying);
        queue.push(entry);
    }
}

impl Round {
    /// A letter as an entry for a queue.
    fn entry(
        self: &Arc<Self>,
        position: Position,
        bytes: usize,
        events: Events,
        letter: Letter,
    ) -> (Entry, Flying) {
        let mut batch = Batch::new(letter.origin.into(), events);
        batch.source = letter.source;
        let batch = Arc::new(batch);
        let (round, key) = (Arc::clone(self), address(&batch));
        let receipt = Receipt::new(move |fate| {
            locked(&round.heard).push((key, position, fate));
            round.arrived.notify_one();
        });
        let entry = Entry::new(Piece::whole(Arc::clone(&batch)), Some(receipt));
        let (id, first_ms, tries, plugin) =
            (letter.id, letter.first_ms, letter.tries, letter.plugin);
        (entry, Flying { batch, position, id, first_ms, tries, plugin, bytes })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("the dead letters: {error}")),
        Err(error) => Err(format!("the dead letters: {error}")),
    }
}
