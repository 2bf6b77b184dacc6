//! The name of a block's content, as bytes that somebody else computed.

use super::HashedPoolError;
use std::fmt;
use std::num::NonZeroU8;

/// Most bytes of a [`BlockKey`]: a 256-bit hash and a few bytes for what else tells
/// contents apart, such as a cache group.
pub const MAX_KEY_BYTES: usize = 39;

/// A block hash with whatever else tells contents apart; 1 to [`MAX_KEY_BYTES`] bytes.
/// Stored in place, so that a pool of keys is one array.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    len: NonZeroU8,
    bytes: [u8; MAX_KEY_BYTES],
}

impl BlockKey {
    /// The key made of these parts, one after the other.
    ///
    /// # Errors
    /// [`HashedPoolError::KeyLength`].
    #[inline]
    pub fn new(hash: &[u8], more: &[u8]) -> Result<Self, HashedPoolError> {
        let len = hash.len() + more.len();
        let too_long = HashedPoolError::KeyLength { bytes: len };
        if len > MAX_KEY_BYTES {
            return Err(too_long);
        }
        let mut bytes = [0; MAX_KEY_BYTES];
        bytes[..hash.len()].copy_from_slice(hash);
        bytes[hash.len()..len].copy_from_slice(more);
        Ok(BlockKey { len: NonZeroU8::new(len as u8).ok_or(too_long)?, bytes })
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len.get())]
    }
}

/// In hexadecimal.
impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_bytes() {
        let key = BlockKey::new(&[1, 2], &[3]).unwrap();
        assert_eq!(key.as_bytes(), [1, 2, 3]);
        assert_eq!(key, BlockKey::new(&[1, 2, 3], &[]).unwrap());
        // Padding is not content.
        assert_ne!(key, BlockKey::new(&[1, 2, 3], &[0]).unwrap());
        assert_eq!(format!("{key:?}"), "010203");
        assert_eq!(size_of::<Option<BlockKey>>(), 40);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(BlockKey::new(&[], &[]), Err(HashedPoolError::KeyLength { bytes: 0 }));
        assert!(BlockKey::new(&[7; 35], &[7; 4]).is_ok());
        let error = BlockKey::new(&[7; 36], &[7; 4]).unwrap_err();
        assert_eq!(error, HashedPoolError::KeyLength { bytes: 40 });
    }
}
