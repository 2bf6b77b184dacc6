//! `kvkeep sweep`: eviction policies times cache sizes. More memory, or a better policy?
//!
//! The sweep is the simulator's. One idea per file: what goes in (`policies`, `memory`), what
//! is made of it (`report`, and `estimate` for traces larger than memory), and what it looks
//! like (`text`, `csv`, `chart` with `svg` and `style`, `html` with `heat`, `help`).

mod chart;
mod csv;
mod estimate;
mod heat;
mod help;
mod html;
mod memory;
mod policies;
mod report;
mod style;
mod svg;
mod text;

use crate::{
    budget_args::BudgetArgs,
    error::Error,
    output,
    progress::Progress,
    trace_options::{TraceOptions, say_that_stdin_is_not_read},
};
use kvkeep_sim::{
    Accesses, Rule, Sweep,
    sweep::{self, Memory, Named, ReportError, Size},
    trace::{Request, Source, Trace, TraceError},
};
use report::Report;
use serde::Serialize;
use std::{
    fs::{self, OpenOptions},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
};

#[derive(clap::Args)]
#[command(after_help = help::EXAMPLES, after_long_help = help::long())]
// Flags of a budget that mean less where the trace names the blocks.
#[command(mut_arg("block_size", |arg| arg.help(help::BLOCK_SIZE)))]
#[command(mut_arg("max_model_len", |arg| arg.help(help::MAX_MODEL_LEN)))]
pub(crate) struct Args {
    /// A trace, or the files or folder of agent sessions; `-` for stdin [default: a made-up trace]
    trace: Vec<PathBuf>,
    /// Policies, comma separated, or `all`; opt and infinite always come with them
    /// [default: lru and a handful that beat it in places]
    #[arg(long = "policy", value_name = "NAME", value_delimiter = ',',
          value_parser = policies::parse, help_heading = HEADING)]
    policies: Vec<policies::Choice>,
    /// Cache sizes, comma separated: blocks (300, 1k), memory (12.58GiB), or a part of the working
    /// set as --rule counts it (10%) [default: the deployment's, and 12 from the longest request to the working set]
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = Size::parse,
          help_heading = HEADING)]
    sizes: Vec<Size>,
    /// Which blocks of a prompt count: engine (full ones, the last token is computed again) or
    /// blocks (all alike) [default: engine]
    #[arg(long, value_name = "RULE", value_parser = rule, help_heading = HEADING)]
    rule: Option<Rule>,
    /// Estimate LRU alone, while the trace streams, from at most N blocks of it (1024 or more);
    /// for traces larger than memory
    #[arg(long, value_name = "N", value_parser = estimate::parse_blocks,
          conflicts_with_all = ["policies", "html", "svg", "threads"], help_heading = HEADING)]
    estimate_blocks: Option<u32>,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    threads: Option<NonZeroUsize>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table, help_heading = OUTPUT)]
    format: Format,
    /// Write a report with pictures, one file without any links
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    html: Option<PathBuf>,
    /// Write the chart of hit rate against memory
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    svg: Option<PathBuf>,
    // Last, since the headings of their flags would run on.
    #[command(flatten)]
    reading: TraceOptions,
    #[command(flatten)]
    budget: BudgetArgs,
}

const HEADING: &str = "Sweep";
const OUTPUT: &str = "Output";

/// How a sweep is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets: the rows
    Csv,
    /// For programs
    Json,
}

fn rule(name: &str) -> Result<Rule, &'static str> {
    [Rule::Engine, Rule::Blocks]
        .into_iter()
        .find(|rule| rule.name() == name)
        .ok_or("there are engine and blocks")
}

/// Sweeps and prints.
pub(crate) fn run(args: &Args) -> ExitCode {
    match answer(args) {
        Ok(answer) => output::print(answer.as_bytes()),
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

fn answer(args: &Args) -> Result<String, Error> {
    if args.trace.is_empty() {
        say_that_stdin_is_not_read();
    }
    let trace = Named::open(&args.trace, &args.reading.options())?;
    let memory = memory::of(&args.budget, trace.source.block_size())?;
    let rule = args.rule.unwrap_or_default();
    if let Some(max_blocks) = args.estimate_blocks {
        let report = estimate::run(trace, rule, max_blocks, &args.sizes, &memory)?;
        return Ok(match args.format {
            Format::Table => report.table(),
            Format::Csv => report.csv(),
            Format::Json => json(&report),
        });
    }
    for path in [&args.html, &args.svg].into_iter().flatten() {
        if path.as_os_str() == "-" {
            let what = "-: the answer goes to stdout; name a file for --html and --svg";
            return Err(Error::Input(what.to_owned()));
        }
        if output::is_one_of(path, &args.trace) {
            let name = path.display();
            let what = format!("{name}: is the trace that is read; write to another file");
            return Err(Error::Input(what));
        }
        try_to_write(path)?;
    }
    let report = sweep(args, trace, rule, &memory)?;
    if let Some(path) = &args.html {
        write(path, &html::page(&report))?;
    }
    if let Some(path) = &args.svg {
        write(path, &chart::file(&report))?;
    }
    Ok(match args.format {
        Format::Table => text::render(&report),
        Format::Csv => csv::render(&report),
        Format::Json => json(&report.figures),
    })
}

fn json(report: &impl Serialize) -> String {
    let mut json = serde_json::to_string_pretty(report).expect("a report is plain data");
    json.push('\n');
    json
}

/// Opens a file for writing and leaves everything as it was: that it cannot be written is better
/// known before the work than after it, and a sweep that fails leaves no empty report.
fn try_to_write(path: &Path) -> Result<(), Error> {
    // Also a link to nowhere is somebody's.
    let is_new = path.symlink_metadata().is_err();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let tried = file.and_then(|_| if is_new { fs::remove_file(path) } else { Ok(()) });
    tried.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Reads the whole trace.
fn read(source: Box<dyn Source<Error = TraceError>>) -> Result<Trace, Error> {
    let mut shown = Shown { source, requests: 0, progress: Progress::start("read") };
    Ok(Trace::read(&mut shown)?)
}

/// A trace that shows how far it is read.
struct Shown {
    source: Box<dyn Source<Error = TraceError>>,
    requests: u64,
    progress: Progress,
}

impl Source for Shown {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.source.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        self.requests += 1;
        self.progress.update(self.requests, self.source.fraction_read());
        self.source.read_next(request)
    }
}

fn sweep(args: &Args, trace: Named, rule: Rule, memory: &Memory) -> Result<Report, Error> {
    let Named { name, source } = trace;
    let trace = read(source)?;
    let accesses = Accesses::new(&trace, rule);
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let sweep = Sweep::new(&accesses, args.threads.unwrap_or_else(cores));
    let policies = policies::chosen(&args.policies);
    let progress = Mutex::new(Progress::start("swept"));
    let show = |what: &'static str, done: usize, of: usize| {
        if let Ok(mut progress) = progress.lock() {
            progress.say(|| format!("{what}: {done} of {of}"));
        }
    };
    let figures = sweep::Report::new(name, &sweep, &policies, &args.sizes, memory, &show);
    let figures = figures.map_err(|error| match error {
        ReportError::Size(error) => Error::Input(format!("--sizes {error}")),
        ReportError::Replay(error) => Error::Replay(error),
    })?;
    let sizes: Vec<u32> = figures.verdicts.iter().map(|verdict| verdict.blocks).collect();
    let curves = report::curves(&sweep, report::span(&sizes, memory.deployment));
    Ok(Report { figures, curves, command: command() })
}

/// What was typed, to type again.
fn command() -> String {
    let args = output::command_line();
    let args = shlex::try_join(args.iter().skip(1).map(String::as_str)).unwrap_or_default();
    format!("kvkeep {args}")
}
