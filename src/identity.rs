//! What a sequence's KV depends on besides its tokens.
//!
//! An [`Identity`] is built by the engine from what the client sent; every field is
//! bounded here, at the door. The manager turns it into extra keys per block: typed,
//! length-framed bytes, so that no two different identities have the same bytes.

use std::fmt;
use std::ops::Range;

/// Most bytes of one field of an [`Identity`] (salt, adapter name or source, media
/// identifier, custom name or value).
pub const MAX_FIELD_BYTES: usize = 1024;
/// Most media items of one [`Identity`].
pub const MAX_MEDIA_ITEMS: usize = 1024;
/// Most custom keys of one [`Identity`].
pub const MAX_CUSTOM_KEYS: usize = 16;

/// Everything but the tokens that the KV of a sequence depends on.
///
/// Two sequences share blocks only where their identities agree. The default is empty:
/// all sequences with it share. An empty salt is no salt. Custom keys count in the order
/// in which they are given. `Debug` does not print the salt.
///
/// ```
/// use kvkeep::Identity;
///
/// let identity = Identity::new()
///     .salt("tenant-7")?
///     .adapter("sql-lora", "/adapters/sql/v3")?
///     .media("sha256:9f…", 12..268)?;
/// assert_ne!(identity, Identity::default());
/// # Ok::<(), kvkeep::IdentityError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    salt: Option<Box<str>>,
    /// Name and source.
    adapter: Option<(Box<str>, Box<str>)>,
    /// By start; no two overlap.
    media: Vec<(Range<usize>, Box<str>)>,
    custom: Vec<(Box<str>, Box<[u8]>)>,
}

impl Identity {
    /// The empty identity.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Isolates the sequence among those with the same salt: a tenant, a user, a
    /// security domain. Enters the first block, and through the chain all others.
    ///
    /// # Errors
    /// [`IdentityError`] if it is longer than [`MAX_FIELD_BYTES`].
    pub fn salt(mut self, salt: &str) -> Result<Self, IdentityError> {
        let salt = bounded("salt", salt)?;
        self.salt = (!salt.is_empty()).then(|| salt.into());
        Ok(self)
    }

    /// The adapter (LoRA) that the sequence runs with, and where its weights come from
    /// (path, version), so that a name that is pointed elsewhere does not find the KV of
    /// the former adapter. Enters every block, as in vLLM.
    ///
    /// # Errors
    /// [`IdentityError`] if one of them is longer than [`MAX_FIELD_BYTES`].
    pub fn adapter(mut self, name: &str, source: &str) -> Result<Self, IdentityError> {
        let name = bounded("adapter name", name)?.into();
        self.adapter = Some((name, bounded("adapter source", source)?.into()));
        Ok(self)
    }

    /// An image, audio clip or video whose placeholder tokens are at `tokens` of the
    /// prompt; `identifier` names its content (a digest). Enters each block that it
    /// overlaps, with its offset from the start of the block. The length counts only by
    /// the blocks that it reaches, so an identifier must also tell apart what changes the
    /// KV of equal content, such as its resolution.
    ///
    /// # Errors
    /// [`IdentityError`] if the identifier is too long, the range is empty or overlaps that
    /// of another item, or there are too many items.
    pub fn media(mut self, identifier: &str, tokens: Range<usize>) -> Result<Self, IdentityError> {
        if tokens.is_empty() {
            return Err(IdentityError::EmptyMediaRange { start: tokens.start, end: tokens.end });
        }
        if self.media.len() == MAX_MEDIA_ITEMS {
            return Err(IdentityError::TooMany { field: "media items", max: MAX_MEDIA_ITEMS });
        }
        let at = self.media.partition_point(|(range, _)| range.start < tokens.start);
        let before = at.checked_sub(1).and_then(|before| self.media.get(before));
        for (other, _) in before.into_iter().chain(self.media.get(at)) {
            if other.start < tokens.end && tokens.start < other.end {
                let (start, end) = (tokens.start, tokens.end);
                return Err(IdentityError::OverlappingMedia { start, end });
            }
        }
        self.media.insert(at, (tokens, bounded("media identifier", identifier)?.into()));
        Ok(self)
    }

    /// Anything else that the KV depends on (a prompt embedding's digest, a
    /// quantisation mode, ...). Enters the first block.
    ///
    /// # Errors
    /// [`IdentityError`] if name or value are too long, or there are too many keys.
    pub fn custom(mut self, name: &str, value: &[u8]) -> Result<Self, IdentityError> {
        if self.custom.len() == MAX_CUSTOM_KEYS {
            return Err(IdentityError::TooMany { field: "custom keys", max: MAX_CUSTOM_KEYS });
        }
        bounded("custom name", name)?;
        if value.len() > MAX_FIELD_BYTES {
            return Err(IdentityError::TooLong {
                field: "custom value",
                bytes: value.len(),
                max: MAX_FIELD_BYTES,
            });
        }
        self.custom.push((name.into(), value.into()));
        Ok(self)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The extra keys of the block that holds `tokens` of a prompt, framed into `buffer`: for
    /// those who call a [`BlockHasher`](crate::hash::BlockHasher) themselves.
    pub fn extra_keys<'a>(&self, tokens: Range<usize>, buffer: &'a mut Vec<u8>) -> ExtraKeys<'a> {
        self.write_keys(tokens, buffer);
        ExtraKeys(buffer)
    }

    pub(crate) fn media_ranges(&self) -> impl Iterator<Item = &Range<usize>> {
        self.media.iter().map(|(range, _)| range)
    }

    /// End of the last media item, in tokens of the prompt.
    pub(crate) fn media_end(&self) -> Option<usize> {
        self.media.last().map(|(range, _)| range.end)
    }

    /// Writes the extra keys of the block that holds `tokens`, in the order of vLLM:
    /// adapter, media, salt, then custom keys.
    pub(crate) fn write_keys(&self, tokens: Range<usize>, out: &mut Vec<u8>) {
        out.clear();
        if let Some((name, source)) = &self.adapter {
            ExtraKey::Adapter { name, source }.write(out);
        }
        let first = self.media.partition_point(|(range, _)| range.end <= tokens.start);
        for (range, identifier) in &self.media[first..] {
            if range.start >= tokens.end {
                break;
            }
            let offset = range.start as i64 - tokens.start as i64;
            ExtraKey::Media { identifier, offset }.write(out);
        }
        if tokens.start == 0 {
            if let Some(salt) = &self.salt {
                ExtraKey::Salt(salt).write(out);
            }
            for (name, value) in &self.custom {
                ExtraKey::Custom { name, value }.write(out);
            }
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("salted", &self.salt.is_some())
            .field("adapter", &self.adapter)
            .field("media", &self.media)
            .field("custom", &self.custom.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

fn bounded<'a>(field: &'static str, value: &'a str) -> Result<&'a str, IdentityError> {
    if value.len() > MAX_FIELD_BYTES {
        return Err(IdentityError::TooLong { field, bytes: value.len(), max: MAX_FIELD_BYTES });
    }
    Ok(value)
}

/// One extra key of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtraKey<'a> {
    /// An adapter.
    Adapter {
        /// Its name.
        name: &'a str,
        /// Where its weights come from.
        source: &'a str,
    },
    /// A media item and where it starts, in tokens from the start of the block
    /// (negative if it started in an earlier block).
    Media {
        /// Name of the content.
        identifier: &'a str,
        /// Start of the item minus start of the block.
        offset: i64,
    },
    /// The salt.
    Salt(&'a str),
    /// A key that the engine defined.
    Custom {
        /// What it is.
        name: &'a str,
        /// Its value.
        value: &'a [u8],
    },
}

const TAG_ADAPTER: u8 = 1;
const TAG_MEDIA: u8 = 2;
const TAG_SALT: u8 = 3;
const TAG_CUSTOM: u8 = 4;

impl ExtraKey<'_> {
    /// Appends the framed form: tag, payload length (`u32` LE), payload. The payload of
    /// a media item is its offset (`i64` LE) and identifier; that of an adapter or a custom
    /// key the length of its name (`u32` LE), name, then source or value.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        fn frame(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            out.push(tag);
            out.extend_from_slice(&(bytes as u32).to_le_bytes());
            parts.iter().for_each(|part| out.extend_from_slice(part));
        }
        match self {
            ExtraKey::Adapter { name, source } => {
                let name_bytes = (name.len() as u32).to_le_bytes();
                frame(out, TAG_ADAPTER, &[&name_bytes, name.as_bytes(), source.as_bytes()]);
            }
            ExtraKey::Media { identifier, offset } => {
                frame(out, TAG_MEDIA, &[&offset.to_le_bytes(), identifier.as_bytes()]);
            }
            ExtraKey::Salt(salt) => frame(out, TAG_SALT, &[salt.as_bytes()]),
            ExtraKey::Custom { name, value } => {
                let name_bytes = (name.len() as u32).to_le_bytes();
                frame(out, TAG_CUSTOM, &[&name_bytes, name.as_bytes(), value]);
            }
        }
    }
}

/// The extra keys of one block, in framed form. Empty for most.
///
/// Frame: tag (1 adapter, 2 media, 3 salt, 4 custom), payload length as `u32` LE,
/// payload. A hasher takes [`as_bytes`](Self::as_bytes), which is unambiguous, or
/// iterates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraKeys<'a>(&'a [u8]);

impl<'a> ExtraKeys<'a> {
    pub(crate) fn new(framed: &'a [u8]) -> Self {
        ExtraKeys(framed)
    }

    /// The framed form; equal bytes mean equal keys.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = ExtraKey<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (key, after) = read_key(rest)?;
            rest = after;
            Some(key)
        })
    }
}

/// Reads one frame. `None` at the end; the bytes are our own, so they are well formed.
fn read_key(bytes: &[u8]) -> Option<(ExtraKey<'_>, &[u8])> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (&tag, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let key = match tag {
        TAG_ADAPTER => {
            let (name, source) = read_named(payload)?;
            ExtraKey::Adapter { name, source: text(source)? }
        }
        TAG_MEDIA => {
            let (offset, identifier) = payload.split_first_chunk::<8>()?;
            ExtraKey::Media { identifier: text(identifier)?, offset: i64::from_le_bytes(*offset) }
        }
        TAG_SALT => ExtraKey::Salt(text(payload)?),
        TAG_CUSTOM => {
            let (name, value) = read_named(payload)?;
            ExtraKey::Custom { name, value }
        }
        _ => return None,
    };
    Some((key, rest))
}

/// Reads a payload that starts with a name and its length.
fn read_named(payload: &[u8]) -> Option<(&str, &[u8])> {
    let (len, payload) = payload.split_first_chunk::<4>()?;
    let (name, rest) = payload.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

/// Why an [`Identity`] was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// A field is too long. Hash it first, or refuse the request.
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// Too many items of a kind.
    TooMany {
        /// Which kind.
        field: &'static str,
        /// The most allowed.
        max: usize,
    },
    /// A media item whose placeholder tokens are those of another one, too.
    OverlappingMedia {
        /// Start of its range, in tokens of the prompt.
        start: usize,
        /// End of the range.
        end: usize,
    },
    /// A media item without tokens.
    EmptyMediaRange {
        /// Start of the range, in tokens of the prompt.
        start: usize,
        /// End of the range.
        end: usize,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::TooLong { field, bytes, max } => write!(
                f,
                "{field} has {bytes} bytes, at most {max} are allowed; pass a digest of it instead"
            ),
            IdentityError::TooMany { field, max } => {
                write!(f, "at most {max} {field} are allowed in one identity")
            }
            IdentityError::OverlappingMedia { start, end } => write!(
                f,
                "media range {start}..{end} overlaps that of another item; pass each item's own placeholder tokens"
            ),
            IdentityError::EmptyMediaRange { start, end } => {
                write!(f, "media range {start}..{end} holds no tokens; pass its placeholder tokens")
            }
        }
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(identity: &Identity, tokens: Range<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        identity.write_keys(tokens, &mut out);
        out
    }

    #[test]
    fn each_key_enters_the_blocks_it_belongs_to() {
        let identity = Identity::new()
            .salt("s")
            .and_then(|i| i.custom("embeds", &[9]))
            .and_then(|i| i.media("late", 40..41))
            .and_then(|i| i.media("img", 10..33))
            .and_then(|i| i.adapter("a", "/a"))
            .unwrap();
        let block = |n: usize| keys(&identity, n * 16..(n + 1) * 16);
        let read = |bytes: &[u8]| format!("{:?}", ExtraKeys::new(bytes).iter().collect::<Vec<_>>());
        assert_eq!(
            read(&block(0)),
            r#"[Adapter { name: "a", source: "/a" }, Media { identifier: "img", offset: 10 }, Salt("s"), Custom { name: "embeds", value: [9] }]"#
        );
        assert_eq!(
            read(&block(1)),
            r#"[Adapter { name: "a", source: "/a" }, Media { identifier: "img", offset: -6 }]"#
        );
        assert_eq!(
            read(&block(2)),
            r#"[Adapter { name: "a", source: "/a" }, Media { identifier: "img", offset: -22 }, Media { identifier: "late", offset: 8 }]"#
        );
        assert_eq!(read(&block(3)), r#"[Adapter { name: "a", source: "/a" }]"#);
    }

    #[test]
    fn moving_bytes_between_fields_changes_the_keys() {
        let pairs = [("org_1", "2345"), ("org_123", "45"), ("org_", "12345")];
        let mut all: Vec<Vec<u8>> = pairs
            .iter()
            .map(|(a, b)| keys(&Identity::new().adapter(a, "").unwrap().salt(b).unwrap(), 0..16))
            .collect();
        all.extend(pairs.map(|(a, b)| keys(&Identity::new().adapter(a, b).unwrap(), 0..16)));
        for (name, value) in pairs {
            all.push(keys(&Identity::new().custom(name, value.as_bytes()).unwrap(), 0..16));
        }
        all.push(keys(&Identity::new().salt("org_1").unwrap(), 0..16));
        all.push(keys(&Identity::new().adapter("org_1", "").unwrap(), 0..16));
        all.push(keys(&Identity::new(), 0..16));
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_empty_salt_is_no_salt_and_debug_keeps_a_salt_back() {
        assert!(Identity::new().salt("").unwrap().is_empty());
        let debug = format!("{:?}", Identity::new().salt("secret").unwrap());
        assert!(debug.contains("salted: true") && !debug.contains("secret"), "{debug}");
    }

    #[test]
    fn media_may_touch_but_not_overlap() {
        let items = Identity::new().media("a", 10..20).and_then(|i| i.media("b", 20..30)).unwrap();
        for range in [0..11, 10..20, 12..13, 19..21, 29..31, 0..40] {
            let refused = items.clone().media("c", range);
            assert!(matches!(refused, Err(IdentityError::OverlappingMedia { .. })), "{refused:?}");
        }
        assert!(items.media("c", 30..31).and_then(|i| i.media("d", 9..10)).is_ok());
    }

    #[test]
    fn oversized_fields_are_refused() {
        let long = "x".repeat(MAX_FIELD_BYTES + 1);
        assert!(Identity::new().salt(&long[1..]).is_ok());
        for refused in [
            Identity::new().salt(&long),
            Identity::new().adapter(&long, ""),
            Identity::new().adapter("", &long),
            Identity::new().media(&long, 0..1),
            Identity::new().custom(&long, &[]),
            Identity::new().custom("x", long.as_bytes()),
        ] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, IdentityError::TooLong { bytes: 1025, max: 1024, .. }),
                "{error}"
            );
        }
        assert!(matches!(
            Identity::new().media("x", 3..3),
            Err(IdentityError::EmptyMediaRange { .. })
        ));
        let many =
            (0..MAX_CUSTOM_KEYS).try_fold(Identity::new(), |i, _| i.custom("k", &[])).unwrap();
        assert!(matches!(many.custom("k", &[]), Err(IdentityError::TooMany { .. })));
        let many =
            (0..MAX_MEDIA_ITEMS).try_fold(Identity::new(), |i, n| i.media("k", n..n + 1)).unwrap();
        assert!(matches!(many.media("k", 9999..10_000), Err(IdentityError::TooMany { .. })));
    }
}
