//! What was sent and not yet acknowledged, in the order of the file. The saved position moves only over data that is
//! acknowledged without a gap.

use std::collections::VecDeque;

use sentinel_contract::Fate;

use super::identity::Mark;

/// The batches of one file that are under way.
#[derive(Debug)]
pub(super) struct Ledger {
    acknowledged: Mark,
    outstanding: VecDeque<Sent>,
    /// Batches before this one are of a file that is gone.
    first: u64,
    next: u64,
}

#[derive(Debug)]
struct Sent {
    number: u64,
    end: Mark,
    done: bool,
}

/// What a receipt changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: an earlier batch is still open, or this one was given up before.
    Nothing,
    /// The position moved.
    Advanced,
    /// The file must be read again from here.
    Lost(Mark),
    /// It was lost, and is not there to be read again.
    Gone,
}

impl Ledger {
    pub(super) fn new(acknowledged: Mark) -> Self {
        Ledger { acknowledged, outstanding: VecDeque::new(), first: 0, next: 0 }
    }

    /// Everything before this is acknowledged.
    pub(super) fn acknowledged(&self) -> Mark {
        self.acknowledged
    }

    /// Nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The file begins anew. Numbers do not: receipts of what is under way are still to come.
    pub(super) fn restart(&mut self) {
        self.outstanding.clear();
        self.acknowledged = Mark::default();
        self.first = self.next;
    }

    /// A batch that ends at `end` goes out; its number comes back with the receipt.
    pub(super) fn sent(&mut self, end: Mark) -> u64 {
        let number = self.next;
        self.next += 1;
        self.outstanding.push_back(Sent { number, end, done: false });
        number
    }

    /// A receipt has come.
    pub(super) fn resolve(&mut self, number: u64, fate: Fate) -> Outcome {
        if number < self.first {
            return if fate == Fate::Lost { Outcome::Gone } else { Outcome::Nothing };
        }
        let Ok(index) = self.outstanding.binary_search_by_key(&number, |sent| sent.number) else {
            return Outcome::Nothing;
        };
        if fate == Fate::Lost {
            self.outstanding.truncate(index); // what came after it is read again too, so that order is kept
            let before = self.outstanding.back();
            return Outcome::Lost(before.map_or(self.acknowledged, |sent| sent.end));
        }
        self.outstanding[index].done = true;
        let mut outcome = Outcome::Nothing;
        while let Some(sent) = self.outstanding.pop_front_if(|sent| sent.done) {
            self.acknowledged = sent.end;
            outcome = Outcome::Advanced;
        }
        outcome
    }
}
