//! The engine's memory: what is really in the slots of each page.

use super::ink::Ink;
use kvkeep::BlockId;

/// One slot per token; `None` is garbage.
#[derive(Debug)]
pub(crate) struct Pages(Vec<Vec<Option<Ink>>>);

impl Pages {
    pub(crate) fn new(num_blocks: usize, block_size: usize) -> Self {
        Pages(vec![vec![None; block_size]; num_blocks])
    }

    /// A block was handed out: whatever it held is not to be relied on.
    pub(crate) fn poison(&mut self, block: BlockId) {
        self.0[block.index()].fill(None);
    }

    pub(crate) fn copy(&mut self, from: BlockId, to: BlockId, slots: usize) {
        let source = self.0[from.index()][..slots].to_vec();
        self.0[to.index()][..slots].copy_from_slice(&source);
    }

    /// Writes the KV of token `at` of a sequence with this block table.
    pub(crate) fn write(&mut self, table: &[BlockId], at: usize, ink: Option<Ink>) {
        let block_size = self.block_size();
        self.0[table[at / block_size].index()][at % block_size] = ink;
    }

    /// The KV that attention would read for token `at`.
    pub(crate) fn read(&self, table: &[BlockId], at: usize) -> Option<Ink> {
        let block_size = self.block_size();
        self.0[table[at / block_size].index()][at % block_size]
    }

    /// The last slot of a page: for a full block the ink that names its content.
    pub(crate) fn last(&self, block: BlockId) -> Option<Ink> {
        self.0[block.index()].last().copied().flatten()
    }

    fn block_size(&self) -> usize {
        self.0[0].len()
    }
}
