//! Opens a trace of any format, told by its beginning.

use super::{
    Agentic, Azure, Bailian, Chat, DEFAULT_USERS, Dynamo, Input, LmCache, Mooncake, Source, Tokens,
    TraceError, azure, tokenizer,
};
use std::{
    fmt, fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

/// Bytes looked at to tell a format.
const HEAD_BYTES: usize = 1 << 16;

/// The formats of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Mooncake JSON Lines, and kvkeep's own ([`Mooncake`]).
    Mooncake,
    /// Bailian JSON Lines ([`Bailian`]).
    Bailian,
    /// Coding-agent sessions ([`Agentic`]).
    Agentic,
    /// Dynamo's request trace ([`Dynamo`]).
    Dynamo,
    /// LMCache's hash logs ([`LmCache`]).
    LmCache,
    /// Token ids as JSON Lines ([`Tokens`]).
    Tokens,
    /// Chat transcripts as JSON Lines ([`Chat`]).
    Chat,
    /// Azure's CSV ([`Azure`]).
    Azure,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Mooncake,
        Self::Bailian,
        Self::Agentic,
        Self::Dynamo,
        Self::LmCache,
        Self::Tokens,
        Self::Chat,
        Self::Azure,
    ];

    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mooncake => "mooncake",
            Self::Bailian => "bailian",
            Self::Agentic => "agentic",
            Self::Dynamo => "dynamo",
            Self::LmCache => "lmcache",
            Self::Tokens => "tokens",
            Self::Chat => "chat",
            Self::Azure => "azure",
        }
    }

    /// Whether a trace says which prompts share a prefix.
    #[must_use]
    pub const fn has_prefixes(self) -> bool {
        !matches!(self, Self::Azure)
    }

    /// The format of a text that starts like this.
    fn of(head: &[u8]) -> Option<Self> {
        if head.trim_ascii_start().starts_with(azure::HEADER.as_bytes()) {
            return Some(Self::Azure);
        }
        let keys = top_level_keys(head);
        let has = |key: &str| keys.contains(&key.as_bytes());
        // A Bailian line has all fields of a Mooncake line.
        [
            (Self::Bailian, "chat_id"),
            (Self::Agentic, "requests"),
            (Self::Dynamo, "event"),
            (Self::LmCache, "chunk_hashes"),
            (Self::Chat, "messages"),
            (Self::Mooncake, "input_length"),
            (Self::Mooncake, "hash_ids"),
            (Self::Tokens, "tokens"),
            (Self::Tokens, "prompt_token_ids"),
        ]
        .into_iter()
        .find_map(|(format, key)| has(key).then_some(format))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The keys of the JSON object that `text` starts with, which may be cut off.
fn top_level_keys(text: &[u8]) -> Vec<&[u8]> {
    let mut keys = Vec::new();
    let mut depth = 0_u32;
    let mut last_string: &[u8] = &[];
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => break,
            b'}' | b']' => depth -= 1,
            b':' if depth == 1 => keys.push(last_string),
            b'"' => {
                let start = at;
                while let Some(&byte) = text.get(at)
                    && byte != b'"'
                {
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                last_string = text.get(start..at).unwrap_or_default();
                at += 1;
            }
            _ => {}
        }
    }
    keys
}

/// How to read a trace. A choice that its format does not have is an error, not dropped.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The format; told by the beginning of the text where not given.
    pub format: Option<Format>,
    /// Tokens per block, where the format leaves it open. (Mooncake and LMCache: of lines
    /// that do not say.)
    pub block_size: Option<NonZeroU32>,
    /// Users who play coding-agent sessions.
    pub users: Option<NonZeroU32>,
    /// When those users start.
    pub seed: Option<u64>,
    /// A `tokenizer.json` for chat transcripts.
    pub tokenizer: Option<PathBuf>,
}

/// A trace and its format.
pub struct Opened {
    /// The format it has.
    pub format: Format,
    /// Its requests.
    pub source: Box<dyn Source<Error = TraceError>>,
}

/// Opens a trace: one file, `-` for stdin, or for coding-agent sessions a folder or files.
/// gzip and Zstandard are decompressed.
///
/// # Errors
/// It cannot be opened, its format cannot be told, its beginning is malformed, or an option
/// is not for its format.
pub fn open<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Opened, TraceError> {
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let (format, input) = match *paths {
        [] => return Err(unsuitable(Path::new("trace"), "no file is named")),
        [path] if path.is_dir() => (Format::Agentic, None),
        [path] => {
            let mut input = Input::open(path)?;
            (format_of(&mut input, options)?, Some(input))
        }
        [first, ..] if first.is_dir() => (Format::Agentic, None),
        [first, ..] => (format_of(&mut Input::open(first)?, options)?, None),
    };
    if let Some(asked) = options.format.filter(|&asked| asked != format) {
        return Err(unsuitable(paths[0], &format!("a folder is {format}, not {asked}")));
    }
    refuse_what_is_not_for(format, paths[0], options)?;
    let source: Box<dyn Source<Error = TraceError>> = match (format, input) {
        (Format::Agentic, _) => {
            let users = options.users.map_or(DEFAULT_USERS, NonZeroU32::get);
            Box::new(Agentic::new(sessions(&paths)?, users, options.seed.unwrap_or(0))?)
        }
        (_, None) => {
            let why = format!("{format} traces are one file each; name one");
            return Err(unsuitable(paths[0], &why));
        }
        (Format::Mooncake, Some(input)) => Box::new(Mooncake::new(input, options.block_size)?),
        (Format::Bailian, Some(input)) => Box::new(Bailian::new(input)),
        (Format::Dynamo, Some(input)) => Box::new(Dynamo::new(input)?),
        (Format::LmCache, Some(input)) => Box::new(LmCache::new(input, options.block_size)?),
        (Format::Tokens, Some(input)) => Box::new(Tokens::new(input, options.block_size)),
        (Format::Azure, Some(input)) => Box::new(Azure::new(input, options.block_size)?),
        (Format::Chat, Some(input)) => {
            let Some(path) = &options.tokenizer else {
                let why = "chat transcripts need a tokenizer; name a tokenizer.json";
                return Err(unsuitable(paths[0], why));
            };
            Box::new(Chat::new(input, tokenizer::load(path)?, options.block_size))
        }
    };
    Ok(Opened { format, source })
}

fn format_of(input: &mut Input, options: &OpenOptions) -> Result<Format, TraceError> {
    if let Some(format) = options.format {
        return Ok(format);
    }
    let head = input.peek(HEAD_BYTES, |head| Format::of(head).is_some())?;
    let name = || input.name().to_owned();
    if head.trim_ascii().is_empty() {
        return Err(TraceError::NoRequests { name: name() });
    }
    Format::of(&head).ok_or_else(|| TraceError::UnknownFormat { name: name() })
}

fn refuse_what_is_not_for(
    format: Format,
    path: &Path,
    options: &OpenOptions,
) -> Result<(), TraceError> {
    let is_agentic = format == Format::Agentic;
    let has_block_size = matches!(format, Format::Bailian | Format::Dynamo | Format::Agentic);
    // By the words of its flag and its argument, `--trace-block-size` and `trace_block_size`.
    for (setting, is_wrong) in [
        ("trace block size", options.block_size.is_some() && has_block_size),
        ("users", options.users.is_some() && !is_agentic),
        ("trace seed", options.seed.is_some() && !is_agentic),
        ("tokenizer", options.tokenizer.is_some() && format != Format::Chat),
    ] {
        if is_wrong {
            return Err(unsuitable(
                path,
                &format!("{setting}: not for {format} traces; leave it out"),
            ));
        }
    }
    Ok(())
}

/// The session files that are named, folders opened, each folder in order of file names.
fn sessions(paths: &[&Path]) -> Result<Vec<PathBuf>, TraceError> {
    let mut sessions = Vec::new();
    for &path in paths {
        if path.as_os_str() == "-" {
            return Err(unsuitable(path, "sessions are files; name them, or their folder"));
        }
        if !path.is_dir() {
            sessions.push(path.to_path_buf());
            continue;
        }
        let list = || {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
            entries.collect::<io::Result<Vec<PathBuf>>>()
        };
        let entries = list()
            .map_err(|source| TraceError::Open { name: path.display().to_string(), source })?;
        let mut files: Vec<_> = entries.into_iter().filter(|file| is_session(file)).collect();
        if files.is_empty() {
            let why = "a folder is read as agent sessions, and there is no session (*.json) in \
                       this one; name a file";
            return Err(unsuitable(path, why));
        }
        files.sort();
        sessions.append(&mut files);
    }
    Ok(sessions)
}

fn is_session(file: &Path) -> bool {
    let name = file.to_string_lossy();
    [".json", ".json.gz", ".json.zst"].iter().any(|ending| name.ends_with(ending))
}

fn unsuitable(path: &Path, why: &str) -> TraceError {
    TraceError::Unsuitable { name: path.display().to_string(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_keys_also_when_cut_off() {
        for (head, format) in [
            (r#"{"timestamp": 0, "input_length": 5, "hash"#, Some(Format::Mooncake)),
            (r#" {"chat_id": 1, "input_length": 5}"#, Some(Format::Bailian)),
            (r#"{"id": "x", "block_size": 64, "requests": [{"t"#, Some(Format::Agentic)),
            (r#"{"event": {"input_length": 3}}"#, Some(Format::Dynamo)),
            (r#"{"timestamp": 1, "chunk_hashes": []}"#, Some(Format::LmCache)),
            (r#"{"tokens": [1, 2"#, Some(Format::Tokens)),
            (r#"{"prompt_token_ids": [1"#, Some(Format::Tokens)),
            (r#"{"model": "a\": \"b", "messages": [{"tokens": 3}]}"#, Some(Format::Chat)),
            ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", Some(Format::Azure)),
            (r#"{"a": {"tokens": 1}, "b": "tokens"}"#, None),
            (r#"[{"tokens": 1}]"#, None),
            (r#"{"a": 1} {"tokens": 1}"#, None),
            (r#"{"a\"#, None),
            (r#"{"a\":"#, None),
            ("}{", None),
            ("", None),
        ] {
            assert_eq!(Format::of(head.as_bytes()), format, "{head}");
        }
    }

    #[test]
    fn what_is_not_for_a_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.jsonl");
        fs::write(&file, "{\"tokens\": [1]}\n").unwrap();
        let message = |options: OpenOptions| match open(&[&file], &options) {
            Ok(_) => panic!("opened with {options:?}"),
            Err(error) => error.to_string(),
        };
        let one = NonZeroU32::new(1);
        assert!(
            message(OpenOptions { users: one, ..Default::default() })
                .contains("users: not for tokens")
        );
        let seed = OpenOptions { seed: Some(1), ..Default::default() };
        assert!(message(seed).contains("trace seed: not"));
        let format = Some(Format::Bailian);
        let block_size = OpenOptions { format, block_size: one, ..Default::default() };
        assert!(message(block_size).contains("trace block size: not for bailian"));
        let chat = OpenOptions { format: Some(Format::Chat), ..Default::default() };
        assert!(message(chat).contains("name a tokenizer.json"));
        let of_folder = open(&[folder.path()], &OpenOptions::default()).map(|_| ()).unwrap_err();
        assert!(of_folder.to_string().contains("no session"), "{of_folder}");
        let two = open(&[&file, &file], &OpenOptions::default()).map(|_| ()).unwrap_err();
        assert!(two.to_string().contains("one file each"), "{two}");
        let opened = open(&[&file], &OpenOptions { block_size: one, ..Default::default() });
        assert_eq!(opened.unwrap().format, Format::Tokens);
    }
}
