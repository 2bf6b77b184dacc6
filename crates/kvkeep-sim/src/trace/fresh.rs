//! Ids for blocks that a trace does not name and that nothing shares.

/// Gives ids downwards from the top of the numbers: a trace's own ids are small numbers or
/// hashes, so they meet these with no more chance than hashes meet each other.
pub(super) struct FreshIds {
    next: u64,
}

impl FreshIds {
    pub(super) fn new() -> Self {
        Self { next: u64::MAX }
    }

    pub(super) fn next(&mut self) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_sub(1);
        id
    }

    /// Names the partial last block of a prompt whose trace names full blocks only.
    pub(super) fn complete(&mut self, blocks: &mut Vec<u64>, input_tokens: u32, block_size: u32) {
        let full = (input_tokens / block_size) as usize;
        if !input_tokens.is_multiple_of(block_size) && blocks.len() == full {
            blocks.push(self.next());
        }
    }
}
