//! SHA-256 of a short message that its writer puts together where it is hashed.

use sha2::block_api::compress256;

/// Bytes of a block of the compression function.
pub(super) const BLOCK_BYTES: usize = 64;

/// Most tokens of a block that is put together on the stack, and most of one for which less
/// of the stack has to be cleared: vLLM's blocks have 16.
pub(super) const SHORT_TOKENS: usize = 64;
pub(super) const USUAL_TOKENS: usize = 16;

/// 0x80 and the length in bits, which follow a message.
const PADDING_BYTES: usize = 1 + 8;

/// FIPS 180-4, section 5.3.3.
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Blocks that a message of so many bytes takes.
pub(super) const fn blocks(message_bytes: usize) -> usize {
    (message_bytes + PADDING_BYTES).div_ceil(BLOCK_BYTES)
}

/// The digest of the first `len` of these bytes. The rest is zero and becomes the padding, so
/// the message is read where it was written. `meanwhile` is called after each block: see
/// [`VllmSha256::hash_meanwhile`](super::VllmSha256::hash_meanwhile).
///
/// # Panics
///
/// If the padding has no room.
#[inline]
pub(super) fn digest_padded(
    message: &mut [[u8; BLOCK_BYTES]],
    len: usize,
    mut meanwhile: impl FnMut(),
) -> [u8; 32] {
    let used = blocks(len);
    let message = &mut message[..used];
    message.as_flattened_mut()[len] = 0x80;
    message[used - 1][BLOCK_BYTES - 8..].copy_from_slice(&(8 * len as u64).to_be_bytes());
    let mut state = START;
    for block in message {
        compress256(&mut state, std::slice::from_ref(block));
        meanwhile();
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}
