//! Writes kvkeep's trace format (see [`Mooncake`](super::Mooncake)), compressed or not.
//!
//! Blocks can be made coarser: an id names everything before it, so the last of each k ids
//! names the k blocks. They cannot be made finer: what is inside a block is not known.

use super::{MOONCAKE_BLOCK_SIZE, Request, lines::MAX_BLOCK_SIZE};
use serde::Serialize;
use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    num::NonZeroU32,
    path::Path,
};

/// Writes requests, one a line.
pub struct Writer<W> {
    to: W,
    /// Ids of the source per id that is written.
    step: usize,
    block_size: u32,
}

/// The line of a request. What is not known is left out.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Ids<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<u16>,
}

/// The last of each `step` ids.
struct Ids<'a> {
    ids: &'a [u64],
    step: usize,
}

impl Serialize for Ids<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.ids.chunks(self.step).filter_map(<[u64]>::last))
    }
}

impl<W: Write> Writer<W> {
    /// Writes requests that have ids of `from` tokens with ids of `block_size` tokens.
    ///
    /// # Errors
    /// `block_size` is not a multiple of `from`, or above 65,536, which nobody reads.
    pub fn new(to: W, from: u32, block_size: NonZeroU32) -> Result<Self, BlockSizeError> {
        let block_size = block_size.get();
        if from == 0 || !block_size.is_multiple_of(from) {
            return Err(BlockSizeError::NotAMultiple { from, to: block_size });
        }
        if block_size > MAX_BLOCK_SIZE {
            return Err(BlockSizeError::TooLarge { to: block_size });
        }
        Ok(Self { to, step: (block_size / from) as usize, block_size })
    }

    /// Writes one request.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, request: &Request) -> io::Result<()> {
        let line = Line {
            timestamp: request.time_ms,
            input_length: request.input_tokens,
            output_length: request.output_tokens,
            hash_ids: Ids { ids: &request.blocks, step: self.step },
            block_size: (self.block_size != MOONCAKE_BLOCK_SIZE).then_some(self.block_size),
            session: request.session,
            turn: request.turn,
            category: request.category,
        };
        serde_json::to_writer(&mut self.to, &line)?;
        self.to.write_all(b"\n")
    }

    /// Gives the output back.
    pub fn into_inner(self) -> W {
        self.to
    }
}

/// Why ids cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSizeError {
    /// New blocks would end inside of old ones.
    NotAMultiple {
        /// Tokens per id of the source.
        from: u32,
        /// Tokens per id that were asked for.
        to: u32,
    },
    /// Beyond what is read back.
    TooLarge {
        /// Tokens per id that were asked for.
        to: u32,
    },
}

impl fmt::Display for BlockSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMultiple { from, to } => write!(
                f,
                "ids of {from} tokens cannot become ids of {to}: the trace does not say what is \
                 inside of its blocks; choose a multiple of {from}"
            ),
            Self::TooLarge { to } => {
                write!(f, "ids of {to} tokens are too large; choose at most {MAX_BLOCK_SIZE}")
            }
        }
    }
}

impl std::error::Error for BlockSizeError {}

/// A file or stdout, compressed by the ending of its name: `.gz`, `.zst`.
pub enum Output {
    /// Not compressed.
    Plain(Box<dyn Write>),
    /// gzip.
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    /// Zstandard.
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Output {
    /// Creates `path`; `-` is stdout.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Plain(Box::new(BufWriter::new(io::stdout()))));
        }
        let file = BufWriter::new(File::create(path)?);
        Ok(match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip(flate2::write::GzEncoder::new(file, Default::default())),
            Some("zst") => Self::Zstd(zstd::stream::write::Encoder::new(file, 0)?),
            _ => Self::Plain(Box::new(file)),
        })
    }

    /// Writes what is left. A compressed file that is not finished cannot be read.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut to) => to.flush(),
            Self::Gzip(to) => to.finish()?.flush(),
            Self::Zstd(to) => to.finish()?.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Gzip(to) => to.write(bytes),
            Self::Zstd(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(to) => to.flush(),
            Self::Zstd(to) => to.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Generate, GenerateOptions, Input, Mooncake, testing::read_all};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn write(requests: &[Request], from: u32, block_size: u32) -> Vec<u8> {
        let block_size = NonZeroU32::new(block_size).unwrap();
        let mut writer = Writer::new(Vec::new(), from, block_size).unwrap();
        for request in requests {
            writer.write(request).unwrap();
        }
        writer.into_inner()
    }

    fn read(text: Vec<u8>) -> Vec<Request> {
        read_all(Mooncake::new(Input::from_bytes("t", text).unwrap(), None).unwrap()).unwrap()
    }

    fn requests(block_size: u32) -> impl Strategy<Value = Vec<Request>> {
        let request = (
            0..1_u64 << 50,
            1..200_u32,
            any::<u32>(),
            prop::option::of(any::<u64>()),
            prop::option::of(any::<u32>()),
            prop::option::of(any::<u16>()),
        )
            .prop_flat_map(
                move |(time_ms, input_tokens, output_tokens, session, turn, category)| {
                    let blocks = input_tokens.div_ceil(block_size) as usize;
                    prop::collection::vec(any::<u64>(), blocks).prop_map(move |blocks| Request {
                        time_ms,
                        input_tokens,
                        output_tokens,
                        blocks,
                        session,
                        turn,
                        category,
                    })
                },
            );
        prop::collection::vec(request, 1..8).prop_map(|mut requests| {
            requests.sort_by_key(|request| request.time_ms);
            requests
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            (block_size, requests) in prop_oneof![Just(512), 1..40_u32]
                .prop_flat_map(|size| (Just(size), requests(size))),
        ) {
            prop_assert_eq!(read(write(&requests, block_size, block_size)), requests);
        }
    }

    #[test]
    fn unknown_fields_and_the_usual_block_size_are_left_out() {
        let request = Request { input_tokens: 513, blocks: vec![1, 2], ..Request::default() };
        assert_eq!(
            write(&[request], 512, 512),
            b"{\"timestamp\":0,\"input_length\":513,\"output_length\":0,\"hash_ids\":[1,2]}\n"
        );
    }

    /// Of 5 ids by 2: the second, the fourth, and the fifth for what is left.
    #[test]
    fn coarser_ids_are_the_last_of_each_group() {
        let request =
            Request { input_tokens: 17, blocks: vec![1, 2, 3, 4, 5], ..Request::default() };
        assert_eq!(read(write(&[request], 4, 8))[0].blocks, [2, 4, 5]);
    }

    /// Made coarser, a trace has the ids that it has when it is made with coarse blocks, by
    /// other names.
    #[test]
    fn coarser_blocks_share_what_coarse_blocks_share() {
        let generate = |block_size| {
            let block_size = NonZeroU32::new(block_size).unwrap();
            let options = GenerateOptions { requests: 2_000, block_size, ..Default::default() };
            read_all(Generate::new(options).unwrap()).unwrap()
        };
        let coarse = generate(64);
        let converted = read(write(&generate(16), 16, 64));
        let mut names: HashMap<u64, u64> = HashMap::new();
        let mut back: HashMap<u64, u64> = HashMap::new();
        for (one, other) in coarse.iter().zip(&converted) {
            assert_eq!(one.blocks.len(), other.blocks.len());
            for (&id, &name) in one.blocks.iter().zip(&other.blocks) {
                assert_eq!(*names.entry(id).or_insert(name), name);
                assert_eq!(*back.entry(name).or_insert(id), id);
            }
        }
    }

    #[test]
    fn finer_and_odd_sizes_are_refused() {
        let cases = [(8, "a multiple of 16"), (24, "a multiple of 16"), (1 << 17, "at most 65536")];
        for (to, hint) in cases {
            let error = Writer::new(Vec::new(), 16, NonZeroU32::new(to).unwrap());
            let message = error.map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }
}
