//! LFU-DA: uses, and what was evicted ages them. GDSF where all blocks cost the same.

use super::Gdsf;

impl Gdsf {
    /// LFU-DA, least frequently used with dynamic aging (Arlitt et al., *Evaluating content
    /// management techniques for Web proxy caches*, 2000): `clock + uses`, where the clock is
    /// the value of the last victim, so that old counts are outgrown. All blocks cost the same.
    ///
    /// *Cost*: as [`Gdsf`]. *Not for* pools that hold a small part of the working set: before a
    /// second use it is LRU.
    #[must_use]
    pub fn lfu_da() -> Self {
        Gdsf::with_attention_ratio(0.0)
    }
}
