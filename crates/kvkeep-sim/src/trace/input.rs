//! Bytes of a trace: a file, stdin or memory, decompressed while they stream.
//!
//! gzip and Zstandard are told by their magic bytes, whatever the file is called.

use super::TraceError;
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    rc::Rc,
};

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 16;

/// A trace's text, with its name for messages.
pub struct Input {
    name: String,
    text: Box<dyn BufRead>,
    /// Of the stored form, where known.
    size_bytes: Option<u64>,
    bytes_taken: Rc<Cell<u64>>,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    ///
    /// # Errors
    /// [`TraceError::Open`] or [`TraceError::Read`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        if path.as_os_str() == "-" {
            return Self::new("stdin".into(), Box::new(io::stdin()), None);
        }
        let name = path.display().to_string();
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) =
            open().map_err(|source| TraceError::Open { name: name.clone(), source })?;
        // A pipe has no size.
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Self::new(name, Box::new(file), size_bytes)
    }

    /// Text in memory, plain or compressed.
    ///
    /// # Errors
    /// [`TraceError::Read`] when a compressed form is broken at its very start.
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, TraceError> {
        let bytes = bytes.into();
        let size_bytes = Some(bytes.len() as u64);
        Self::new(name.into(), Box::new(Cursor::new(bytes)), size_bytes)
    }

    /// Whatever `stored` gives, of `size_bytes` where that is known.
    pub(super) fn new(
        name: String,
        stored: Box<dyn Read>,
        size_bytes: Option<u64>,
    ) -> Result<Self, TraceError> {
        let bytes_taken = Rc::new(Cell::new(0));
        let counted = Counted { stored, bytes_taken: Rc::clone(&bytes_taken) };
        match decompressed(BufReader::with_capacity(BUFFER_BYTES, counted)) {
            Ok(text) => Ok(Self { name, text, size_bytes, bytes_taken }),
            Err(source) => Err(TraceError::Read { name, source }),
        }
    }

    /// What to call it in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much of the stored form has been taken, from 0 to 1, where its size is known.
    pub(super) fn fraction_read(&self) -> Option<f64> {
        let size = self.size_bytes.filter(|&size| size > 0)?;
        Some((self.bytes_taken.get() as f64 / size as f64).min(1.0))
    }

    /// The first bytes of the text, at most `limit` and no more than are `enough`; they stay in
    /// the text.
    pub(super) fn peek(
        &mut self,
        limit: usize,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TraceError> {
        let mut head = Vec::new();
        while head.len() < limit {
            let part = match self.text.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(TraceError::Read { name: self.name.clone(), source }),
            };
            let taken = part.len().min(limit - head.len());
            head.extend_from_slice(&part[..taken]);
            self.text.consume(taken);
            if taken == 0 || enough(&head) {
                break;
            }
        }
        let rest = std::mem::replace(&mut self.text, Box::new(io::empty()));
        self.text = Box::new(Cursor::new(head.clone()).chain(rest));
        Ok(head)
    }

    /// The text itself.
    pub(super) fn text(&mut self) -> &mut dyn BufRead {
        &mut *self.text
    }
}

/// Counts what is taken from the stored form.
struct Counted {
    stored: Box<dyn Read>,
    bytes_taken: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.stored.read(buffer)?;
        self.bytes_taken.set(self.bytes_taken.get() + taken as u64);
        Ok(taken)
    }
}

fn decompressed(mut stored: BufReader<Counted>) -> io::Result<Box<dyn BufRead>> {
    // A pipe may give fewer bytes at once than a magic number has.
    let mut magic = Vec::new();
    (&mut stored).take(4).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
    let is_zstd = magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let stored = Cursor::new(magic).chain(stored);
    let mut text: Box<dyn BufRead> = if is_gzip {
        let text = flate2::bufread::MultiGzDecoder::new(stored);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, text))
    } else if is_zstd {
        let text = zstd::stream::read::Decoder::with_buffer(stored)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, text))
    } else {
        Box::new(stored)
    };
    // Spreadsheets begin a text with a byte order mark, which is no part of it.
    let mut head = Vec::new();
    (&mut text).take(3).read_to_end(&mut head)?;
    if head == *b"\xef\xbb\xbf" {
        head.clear();
    }
    Ok(Box::new(Cursor::new(head).chain(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text(stored: Vec<u8>) -> String {
        let mut input = Input::from_bytes("t", stored).unwrap();
        let mut text = String::new();
        input.text().read_to_string(&mut text).unwrap();
        assert_eq!(input.fraction_read(), Some(1.0));
        text
    }

    #[test]
    fn gzip_and_zstd_are_told_by_their_magic_bytes_also_in_parts() {
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 0).unwrap();
        assert_eq!(text([gzip("ab"), gzip("cd\n")].concat()), "abcd\n");
        assert_eq!(text([zstd("ab"), zstd("cd\n")].concat()), "abcd\n");
        assert_eq!(text(zstd("\u{feff}ab\n")), "ab\n", "no byte order mark");
        assert_eq!(text("\u{feff}".into()), "");
        assert_eq!(text("a\u{feff}".into()), "a\u{feff}");
        assert_eq!(text(b"(".to_vec()), "(");
        assert_eq!(text(b"(abc".to_vec()), "(abc");
    }

    #[test]
    fn peeking_takes_nothing() {
        let mut input = Input::from_bytes("t", "\n \nabc\nrest").unwrap();
        assert_eq!(input.peek(5, |_| false).unwrap(), b"\n \nab");
        assert_eq!(input.peek(99, |_| false).unwrap(), b"\n \nabc\nrest");
        // The first bytes that there are at once.
        assert_eq!(input.peek(99, |head| head.len() > 1).unwrap(), b"\n \nabc\nrest");
        let mut text = String::new();
        input.text().read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n \nabc\nrest");
    }

    #[test]
    fn a_cut_off_gzip_is_an_error_and_no_short_text() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(b"a long enough text").unwrap();
        let mut stored = encoder.finish().unwrap();
        stored.truncate(stored.len() - 9);
        let mut input = Input::from_bytes("t", stored).unwrap();
        assert!(input.text().read_to_string(&mut String::new()).is_err());
    }
}
