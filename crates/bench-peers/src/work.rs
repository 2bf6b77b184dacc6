//! The work itself: which tokens each workload feeds to a block manager.
//!
//! Everything here is a pure function of its arguments, so that two managers that ask
//! for the same content get equal tokens, and a run can be repeated. Only `std` is
//! used: a bench that does not want the peers can include this file by path.

/// Tokens per block in every workload.
pub(crate) const BLOCK_SIZE: usize = 16;

/// Token ids stay below this (the vocabulary of Qwen3).
const VOCABULARY: u64 = 151_936;

/// One step of splitmix64: a good spread of bits from a counter.
fn mix(counter: u64) -> u64 {
    let mut x = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Token number `index` of the text `content`.
pub(crate) fn token(content: u64, index: usize) -> u32 {
    let bits = mix(mix(content).wrapping_add(index as u64)) >> 32;
    // The product of two 32-bit numbers, scaled back: uniform over the vocabulary.
    ((bits * VOCABULARY) >> 32) as u32
}

/// Appends the first `num_tokens` tokens of the text `content` to `out`.
pub(crate) fn append_text(content: u64, num_tokens: usize, out: &mut Vec<u32>) {
    out.extend((0..num_tokens).map(|index| token(content, index)));
}

/// The first `num_tokens` tokens of the text `content`.
pub(crate) fn text(content: u64, num_tokens: usize) -> Vec<u32> {
    let mut out = Vec::with_capacity(num_tokens);
    append_text(content, num_tokens, &mut out);
    out
}

/// The numbers below `len` in an order that depends on `seed` alone.
pub(crate) fn shuffled(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        let pick = mix(mix(seed).wrapping_add(last as u64)) % (last as u64 + 1);
        order.swap(last, pick as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_repeat_and_differ() {
        assert_eq!(text(7, 40), text(7, 40));
        assert_eq!(text(7, 40)[..16], text(7, 16)[..]);
        assert_ne!(text(7, 16), text(8, 16));
        assert!(text(3, 10_000).iter().all(|&t| u64::from(t) < VOCABULARY));
    }

    #[test]
    fn neighbouring_texts_share_no_block() {
        let mut blocks: Vec<Vec<u32>> = (0..500)
            .flat_map(|content| {
                text(content, 64).chunks(BLOCK_SIZE).map(<[u32]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
        let count = blocks.len();
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), count);
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let order = shuffled(1000, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_ne!(order, sorted);
        assert_eq!(order, shuffled(1000, 1));
        assert_ne!(order, shuffled(1000, 2));
    }
}
