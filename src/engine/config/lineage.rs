//! Which observers are kept one a partition, and of which input: those all of whose events come from one input that is read
//! by partition, directly or through observers above.

use std::sync::Arc;

use crate::pipeline::admits;

/// The origins so far, each with the input by whose partitions it is kept, if it is.
#[derive(Default)]
pub(super) struct Lineage(Vec<(Arc<str>, Option<usize>)>);

/// What an observer takes, when it takes events of an input that is read by partition, and others.
pub(super) struct Mixed {
    pub(super) of_partitions: Arc<str>,
    pub(super) other: Arc<str>,
}

impl Lineage {
    /// One more input, the `index`th.
    pub(super) fn input(&mut self, alias: &Arc<str>, index: usize, by_partition: bool) {
        self.0.push((Arc::clone(alias), by_partition.then_some(index)));
    }

    /// One more observer, and the input by whose partitions it is kept.
    ///
    /// Errors: it takes events of such an input and others: of what partition would those be?
    pub(super) fn observer(
        &mut self,
        alias: &Arc<str>,
        from: &[String],
    ) -> Result<Option<usize>, Mixed> {
        let admitted = || self.0.iter().filter(|(origin, _)| admits(from, origin));
        let Some((of_partitions, input)) = admitted().find(|(_, input)| input.is_some()) else {
            self.0.push((Arc::clone(alias), None));
            return Ok(None);
        };
        let input = *input;
        if let Some((other, _)) = admitted().find(|(_, other)| *other != input) {
            let (of_partitions, other) = (Arc::clone(of_partitions), Arc::clone(other));
            return Err(Mixed { of_partitions, other });
        }
        self.0.push((Arc::clone(alias), input));
        Ok(input)
    }
}
