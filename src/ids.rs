//! Typed ids: [`BlockId`] names a block (and its page), [`SeqId`] a sequence.
//!
//! A `SeqId` carries a generation, so a handle kept after `free` is an error, never
//! somebody else's sequence.

use std::fmt;

/// "No block" inside links; never a valid id.
pub(crate) const NONE: u32 = u32::MAX;

/// Id of a block: an index in `0..num_blocks`, the same on every GPU of a
/// tensor-parallel group. Engines write it into their block tables as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    /// The id as the `u32` that goes into a block table.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The id as an index.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for BlockId {
    /// For ids that come back from a block table. Nothing checks that a pool has them;
    /// what takes an id does.
    fn from(id: u32) -> BlockId {
        BlockId(id)
    }
}

impl From<BlockId> for u32 {
    fn from(id: BlockId) -> u32 {
        id.0
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Handle of a sequence, given by `admit` and `fork`, ended by `free` and `preempt`.
///
/// `Debug` prints slot and generation as `3v1`. A handle is unique for 2^32 reuses of
/// its slot, in its manager: keep the handles of several managers apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl SeqId {
    /// The handle as one integer, for engines that keep ids in plain maps.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        ((self.generation as u64) << 32) | self.slot as u64
    }

    /// The handle that [`SeqId::to_u64`] gave. Any integer is accepted; one that was
    /// never given out is answered with [`Error::UnknownSequence`](crate::Error).
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        SeqId { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for SeqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.slot, self.generation)
    }
}

impl fmt::Display for SeqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
