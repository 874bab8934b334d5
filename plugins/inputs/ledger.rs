//! What was sent and not yet acknowledged, in the order of its source (a file, a partition). The saved position moves only over
//! data that is acknowledged without a gap.

use std::collections::VecDeque;

use sentinel_contract::Fate;

/// The batches of one source that are under way; `M` is a position in it.
#[derive(Debug)]
pub(crate) struct Ledger<M> {
    acknowledged: M,
    outstanding: VecDeque<Sent<M>>,
    /// Batches before this one are of a file that is gone.
    first: u64,
    next: u64,
}

#[derive(Debug)]
struct Sent<M> {
    number: u64,
    end: M,
    done: bool,
}

/// What a receipt changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<M> {
    /// Nothing: an earlier batch is still open, or this one was given up before.
    Nothing,
    /// The position moved.
    Advanced,
    /// The source must be read again from here.
    Lost(M),
    /// It was lost, and is not there to be read again.
    Gone,
}

impl<M: Copy + Default> Ledger<M> {
    pub(crate) fn new(acknowledged: M) -> Self {
        Ledger { acknowledged, outstanding: VecDeque::new(), first: 0, next: 0 }
    }

    /// Everything before this is acknowledged.
    pub(crate) fn acknowledged(&self) -> M {
        self.acknowledged
    }

    /// Nothing is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The file begins anew. Numbers do not: receipts of what is under way are still to come.
    pub(crate) fn restart(&mut self) {
        self.outstanding.clear();
        self.acknowledged = M::default();
        self.first = self.next;
    }

    /// A batch that ends at `end` goes out; its number comes back with the receipt.
    pub(crate) fn sent(&mut self, end: M) -> u64 {
        let number = self.next;
        self.next += 1;
        self.outstanding.push_back(Sent { number, end, done: false });
        number
    }

    /// A receipt has come.
    pub(crate) fn resolve(&mut self, number: u64, fate: Fate) -> Outcome<M> {
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
