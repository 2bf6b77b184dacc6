//! What published blocks hold: hash, tokens (in verified mode) and extra keys.
//!
//! Three flat arrays by block id. A walk along a chain touches the tokens once and the
//! hashes not at all.

use crate::extras::{ExtraId, NO_EXTRA};

#[derive(Debug)]
pub(crate) struct Content<D> {
    block_size: usize,
    digests: Vec<D>,
    /// `block_size` tokens per block; empty in hash-only mode.
    tokens: Vec<u32>,
    /// Empty until the first block with extra keys.
    extras: Vec<ExtraId>,
}

impl<D: Copy + Eq> Content<D> {
    pub(crate) fn new(num_blocks: u32, block_size: usize, verified: bool, filler: D) -> Self {
        let tokens = if verified { num_blocks as usize * block_size } else { 0 };
        Content {
            block_size,
            digests: vec![filler; num_blocks as usize],
            tokens: vec![0; tokens],
            extras: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn block_size(&self) -> usize {
        self.block_size
    }

    /// Whether hits are verified, that is, tokens are kept.
    #[inline(always)]
    pub(crate) fn verified(&self) -> bool {
        !self.tokens.is_empty()
    }

    #[inline(always)]
    pub(crate) fn digest(&self, id: u32) -> &D {
        &self.digests[id as usize]
    }

    /// The tokens of a block; empty in hash-only mode.
    #[inline(always)]
    pub(crate) fn tokens(&self, id: u32) -> &[u32] {
        let start = id as usize * self.block_size;
        self.tokens.get(start..start + self.block_size).unwrap_or_default()
    }

    #[inline(always)]
    pub(crate) fn extra(&self, id: u32) -> ExtraId {
        self.extras.get(id as usize).copied().unwrap_or(NO_EXTRA)
    }

    /// Whether the block holds exactly this. Verified mode only.
    #[inline(always)]
    pub(crate) fn equals(&self, id: u32, tokens: &[u32], extra: ExtraId) -> bool {
        same_tokens(self.tokens(id), tokens) && self.extra(id) == extra
    }

    /// The token store in blocks of 16, if that is the block size.
    #[inline]
    pub(crate) fn tokens_by_16(&self) -> Option<&[[u32; 16]]> {
        (self.block_size == 16).then(|| self.tokens.as_chunks().0)
    }

    /// Whether no block has had extra keys so far.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.extras.is_empty()
    }

    #[inline]
    pub(crate) fn set(&mut self, id: u32, digest: D, tokens: &[u32], extra: ExtraId) {
        self.digests[id as usize] = digest;
        if self.verified() {
            let start = id as usize * self.block_size;
            self.tokens[start..start + self.block_size].copy_from_slice(tokens);
        }
        if extra != NO_EXTRA && self.extras.is_empty() {
            self.extras = vec![NO_EXTRA; self.digests.len()];
        }
        if let Some(place) = self.extras.get_mut(id as usize) {
            *place = extra;
        }
    }

    /// Asks for the line of a block's hash.
    #[inline(always)]
    pub(crate) fn prefetch_digest(&self, id: u32) {
        crate::prefetch::prefetch(&self.digests, id as usize);
    }

    /// Asks for the (first) line of a block's tokens.
    #[inline(always)]
    pub(crate) fn prefetch_tokens(&self, id: u32) {
        crate::prefetch::prefetch(&self.tokens, (id as usize).wrapping_mul(self.block_size));
    }
}

#[inline(always)]
fn same_tokens(a: &[u32], b: &[u32]) -> bool {
    let (a_chunks, a_rest) = a.as_chunks();
    let (b_chunks, b_rest) = b.as_chunks();
    a_chunks.len() == b_chunks.len()
        && a_chunks.iter().zip(b_chunks).all(|(a, b)| same_16(a, b))
        && a_rest == b_rest
}

/// `a == b` in a few vector instructions; the call to `memcmp` that `==` becomes costs as
/// much as the rest of a hit.
#[inline(always)]
pub(crate) fn same_16(a: &[u32; 16], b: &[u32; 16]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
