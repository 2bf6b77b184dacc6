//! `kvkeep trace convert`, and the writing that `generate` and `sample` share.

use super::{Failure, help};
use crate::{output, progress::Progress, trace_options::TraceOptions};
use kvkeep_sim::trace::{Output, Request, Source, Writer};
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(clap::Args)]
#[command(after_help = help::convert())]
pub(super) struct Args {
    /// The trace, `-` for stdin; for agent sessions a folder or files
    #[arg(required = true)]
    trace: Vec<PathBuf>,
    /// Tokens per block, a multiple of the trace's [default: the trace's]
    #[arg(long, value_name = "TOKENS")]
    block_size: Option<NonZeroU32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    reading: TraceOptions,
}

/// Where a trace is written.
#[derive(clap::Args)]
pub(super) struct OutputArgs {
    /// The file to write, compressed if it ends in .gz or .zst; `-` for stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// Converts.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut source = args.reading.open(&args.trace)?.source;
    args.output.refuse_inputs(&args.trace)?;
    args.output.write(&mut source, args.block_size)?;
    Ok(ExitCode::SUCCESS)
}

impl OutputArgs {
    /// Refuses to write to one of `inputs`.
    pub(super) fn refuse_inputs(&self, inputs: &[PathBuf]) -> Result<(), Failure> {
        match output::is_one_of(&self.output, inputs) {
            true => Err(Failure::Overwrite(self.output.clone())),
            false => Ok(()),
        }
    }

    /// Writes all of `source`, with blocks of `block_size` tokens; its own size where that is
    /// not given. Returns the number of requests.
    pub(super) fn write<S: Source>(
        &self,
        source: &mut S,
        block_size: Option<NonZeroU32>,
    ) -> Result<u64, Failure>
    where
        Failure: From<S::Error>,
    {
        let from = source.block_size();
        let block_size = block_size.or(NonZeroU32::new(from)).unwrap_or(NonZeroU32::MIN);
        // Asked before the file is created.
        Writer::new(Vec::new(), from, block_size).map_err(Failure::BlockSize)?;
        let wrong = |source| Failure::Write { path: self.output.clone(), source };
        let output = Output::create(Path::new(&self.output)).map_err(wrong)?;
        let mut writer = Writer::new(output, from, block_size).map_err(Failure::BlockSize)?;
        let mut progress = Progress::start("wrote");
        let mut request = Request::default();
        let mut requests = 0;
        while source.read_next(&mut request)? {
            writer.write(&request).map_err(wrong)?;
            requests += 1;
            progress.update(requests, source.fraction_read());
        }
        writer.into_inner().finish().map_err(wrong)?;
        Ok(requests)
    }
}
