//! The flags that say how a trace is read, shared by all subcommands that read one.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use kvkeep_sim::trace::{self, Format, OpenOptions, Opened, TraceError};
use std::{
    io::{self, IsTerminal},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

/// How a trace is read. The subcommand names its traces `trace`.
#[derive(clap::Args)]
#[command(next_help_heading = "Reading traces")]
pub(crate) struct TraceOptions {
    /// Format of the trace [default: told by its beginning]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser(), requires = "trace")]
    trace_format: Option<Format>,
    /// Tokens per block, for formats that leave it open [default: 16; mooncake 512, lmcache 256]
    #[arg(long, value_name = "TOKENS", requires = "trace")]
    trace_block_size: Option<NonZeroU32>,
    /// Users who play agent sessions at the same time [default: 32]
    #[arg(long, value_name = "N", requires = "trace")]
    users: Option<NonZeroU32>,
    /// Names the times at which those users start [default: 0]
    #[arg(long, value_name = "SEED", requires = "trace")]
    trace_seed: Option<u64>,
    /// The tokenizer.json for chat transcripts
    #[arg(long, value_name = "FILE", requires = "trace")]
    tokenizer: Option<PathBuf>,
}

impl TraceOptions {
    /// As the simulator takes them.
    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            format: self.trace_format,
            block_size: self.trace_block_size,
            users: self.users,
            seed: self.trace_seed,
            tokenizer: self.tokenizer.clone(),
        }
    }

    /// Opens a trace.
    pub(crate) fn open<P: AsRef<Path>>(&self, paths: &[P]) -> Result<Opened, TraceError> {
        trace::open(paths, &self.options())
    }
}

/// Where no trace is named: says that stdin, which may have one, is not read.
pub(crate) fn say_that_stdin_is_not_read() {
    if !io::stdin().is_terminal() {
        eprintln!(
            "note: no TRACE is named, so a made-up workload is used; - reads a trace from stdin"
        );
    }
}

fn format_parser() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(Format::ALL.map(Format::name));
    names.try_map(|name| {
        let mut formats = Format::ALL.into_iter();
        formats.find(|format| format.name() == name).ok_or("no such format")
    })
}
