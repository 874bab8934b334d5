//! Rows of the kernel matrix, made when first asked for; the one not asked for the longest makes room.

use super::kernel::Blocks;

/// Kept kernel rows of at most a number of bytes.
pub(super) struct RowCache<'a> {
    rows: &'a Blocks,
    capacity: usize,
    /// Rows kept so far, one slot after the other; grows until it is full.
    slots: Vec<Slot>,
    /// Slot of each row, or [`NONE`].
    slot_of: Vec<u32>,
    /// Requests so far.
    clock: u64,
}

struct Slot {
    row: usize,
    last_used: u64,
    values: Box<[f32]>,
}

const NONE: u32 = u32::MAX;

impl<'a> RowCache<'a> {
    /// Keeps as many rows as fit into `bytes`, two at least.
    pub(super) fn new(rows: &'a Blocks, bytes: usize) -> Self {
        let per_row = size_of::<f32>() * rows.n_rows;
        Self {
            rows,
            capacity: (bytes / per_row).max(2),
            slots: Vec::new(),
            slot_of: vec![NONE; rows.n_rows],
            clock: 0,
        }
    }

    /// Rows of the data.
    pub(super) fn n_rows(&self) -> usize {
        self.rows.n_rows
    }

    /// Makes sure that a row is kept, at least until two others have been asked for; returns its slot.
    pub(super) fn fetch(&mut self, row: usize) -> usize {
        self.clock += 1;
        let known = self.slot_of[row];
        let slot = if known != NONE {
            known as usize
        } else if self.slots.len() < self.capacity {
            let values = vec![0.0; self.rows.n_rows].into_boxed_slice();
            self.slots.push(Slot { row, last_used: 0, values });
            self.fill(row, self.slots.len() - 1)
        } else {
            let ages = self.slots.iter().map(|slot| slot.last_used).enumerate();
            let oldest = ages.min_by_key(|(_, age)| *age).map_or(0, |(slot, _)| slot);
            self.slot_of[self.slots[oldest].row] = NONE;
            self.fill(row, oldest)
        };
        self.slots[slot].last_used = self.clock;
        slot
    }

    fn fill(&mut self, row: usize, slot: usize) -> usize {
        self.slots[slot].row = row;
        self.slot_of[row] = slot as u32;
        self.rows.kernel_row(row, &mut self.slots[slot].values);
        slot
    }

    /// Writes a row that will hardly be asked for again, and does not keep it: the first touch of memory for a kept one
    /// takes longer than making it.
    pub(super) fn write(&self, row: usize, out: &mut [f32]) {
        self.rows.kernel_row(row, out);
    }

    /// The row in a slot that [`Self::fetch`] gave.
    pub(super) fn values(&self, slot: usize) -> &[f32] {
        &self.slots[slot].values
    }

    /// Bytes of kernel rows.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| size_of_val(&*slot.values)).sum()
    }
}
