//! Which trace a sweep reads, and how.

use crate::error::Error;
use kvkeep_sim::trace::{Format, Generate, GenerateOptions, OpenOptions, Request, Source, open};
use std::{num::NonZeroU32, path::PathBuf};

/// The trace's flags.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// A trace, `-` for stdin, or the files or folder of coding-agent sessions [default: a
    /// made-up trace]
    #[arg(value_name = "TRACE")]
    trace: Vec<PathBuf>,
    /// mooncake, bailian, agentic, dynamo, lmcache, tokens, chat or azure [default: told by its
    /// beginning]
    #[arg(long, value_name = "FORMAT", value_parser = format, help_heading = HEADING)]
    trace_format: Option<Format>,
    /// Tokens per block, where the format leaves it open
    #[arg(long, value_name = "TOKENS", help_heading = HEADING)]
    trace_block_size: Option<NonZeroU32>,
    /// Users who play coding-agent sessions at the same time
    #[arg(long, value_name = "N", help_heading = HEADING)]
    users: Option<NonZeroU32>,
    /// When those users start, or which trace is made up [default: 0]
    #[arg(long, value_name = "SEED", help_heading = HEADING)]
    trace_seed: Option<u64>,
    /// A tokenizer.json for chat transcripts
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    tokenizer: Option<PathBuf>,
}

const HEADING: &str = "Trace";

fn format(name: &str) -> Result<Format, String> {
    Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
        let names: Vec<_> = Format::ALL.into_iter().map(Format::name).collect();
        format!("there are {}", names.join(", "))
    })
}

/// A trace to read, errors as text.
pub(super) struct Opened {
    pub(super) name: String,
    source: Box<dyn Source<Error = Error>>,
}

impl TraceArgs {
    /// Opens the trace.
    pub(super) fn open(&self) -> Result<Opened, Error> {
        let name = match &*self.trace {
            [] => return self.made_up(),
            [one] if one.as_os_str() == "-" => "stdin".to_owned(),
            [one] => one.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        };
        let options = OpenOptions {
            format: self.trace_format,
            block_size: self.trace_block_size,
            users: self.users,
            seed: self.trace_seed,
            tokenizer: self.tokenizer.clone(),
        };
        let source =
            open(&self.trace, &options).map_err(|error| Error::Input(error.to_string()))?;
        if !source.format().has_prefixes() {
            return Err(Error::Input(format!(
                "{name}: {} traces do not say which prompts share a prefix, so nothing hits; \
                 choose another trace",
                source.format()
            )));
        }
        Ok(Opened { name, source: Box::new(AsText(source)) })
    }

    fn made_up(&self) -> Result<Opened, Error> {
        let mut options = GenerateOptions::default();
        options.seed = self.trace_seed.unwrap_or(options.seed);
        options.block_size = self.trace_block_size.unwrap_or(options.block_size);
        if self.trace_format.is_some() || self.users.is_some() || self.tokenizer.is_some() {
            let flags = "--trace-format, --users and --tokenizer";
            return Err(Error::Input(format!("{flags} are about a trace; name one")));
        }
        let name = format!("made up, seed {}", options.seed);
        let source = Generate::new(options).map_err(|error| Error::Input(error.to_string()))?;
        Ok(Opened { name, source: Box::new(AsText(source)) })
    }
}

impl Source for Opened {
    type Error = Error;

    fn block_size(&self) -> u32 {
        self.source.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Error> {
        self.source.read_next(request)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.source.fraction_read()
    }
}

/// A source whose errors are the command's.
struct AsText<S>(S);

impl<S: Source> Source for AsText<S> {
    type Error = Error;

    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Error> {
        self.0.read_next(request).map_err(|error| Error::Input(error.to_string()))
    }

    fn fraction_read(&self) -> Option<f64> {
        self.0.fraction_read()
    }
}
