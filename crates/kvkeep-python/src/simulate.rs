//! Simulations and sweeps of traces, as plain data.
//!
//! The reports are those of the command line: the same JSON, parsed by Python.

use crate::budget::KvLayout;
use crate::errors::Raise;
use crate::interrupt::interruptible;
use kvkeep::budget::{self, DEFAULT_BLOCK_SIZE};
use kvkeep::evict::{Kind, UnknownPolicy};
use kvkeep_sim::simulate::{Pool, Simulation};
use kvkeep_sim::sweep::{self, Memory, MemoryError, Named, ReportError, Size};
use kvkeep_sim::trace::{Format, OpenOptions, Request, Source, Trace, TraceError};
use kvkeep_sim::{Accesses, Policy, Rule, Sweep, deployment};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Replays a trace through the block manager, one request after another.
///
/// Args:
///     trace: path of a trace, or folder of agent sessions; "-" for stdin; the built-in
///         workload if not given.
///     blocks: blocks of the pool; if not given, what two GPUs with 12.58 GiB of fp8 cache
///         each hold of Qwen3-32B. `plan` computes others.
///     block_size: tokens per block of the pool.
///     policy: one of `POLICIES`.
///     outputs: decode the outputs as well.
///     requests: stop after so many.
///     seed: of the built-in workload.
///     trace_format, trace_block_size, users, trace_seed: as of `kvkeep trace --help`.
///     tokenizer: path of the tokenizer.json for chat transcripts.
///
/// Returns:
///     A dict, as `kvkeep simulate --format json` prints it.
///
/// Raises:
///     TraceError: the trace cannot be read; says where.
///     ConfigError, UnknownPolicyError.
///
/// Runs without the GIL; Ctrl-C stops it.
#[pyfunction]
#[pyo3(signature = (
    trace=None, *, blocks=None, block_size=DEFAULT_BLOCK_SIZE, policy="lru", outputs=false,
    requests=None, seed=0, trace_format=None, trace_block_size=None, users=None, trace_seed=None,
    tokenizer=None,
))]
#[pyo3(text_signature = "(trace=None, *, blocks=None, block_size=16, policy='lru', \
                         outputs=False, requests=None, seed=0, trace_format=None, \
                         trace_block_size=None, users=None, trace_seed=None, \
                         tokenizer=None)")]
fn simulate<'py>(
    py: Python<'py>,
    trace: Option<PathBuf>,
    blocks: Option<u32>,
    block_size: u32,
    policy: &str,
    outputs: bool,
    requests: Option<u64>,
    seed: u64,
    trace_format: Option<&str>,
    trace_block_size: Option<NonZeroU32>,
    users: Option<NonZeroU32>,
    trace_seed: Option<u64>,
    tokenizer: Option<PathBuf>,
) -> PyResult<Bound<'py, PyAny>> {
    let pool = match blocks {
        Some(num_blocks) => Pool { num_blocks, block_size, memory: None },
        None => {
            let layout = deployment::layout(block_size).map_err(Raise::raise)?;
            Pool::planned(&deployment::budget(&layout).map_err(Raise::raise)?)
        }
    };
    let simulation = Simulation {
        trace: trace.map(|path| path.display().to_string()),
        reading: reading(trace_format, trace_block_size, users, trace_seed, tokenizer)?,
        seed,
        pool,
        policy: policy.parse::<Kind>().map_err(UnknownPolicy::raise)?,
        outputs,
        requests,
    };
    let report = interruptible(py, move |stop| {
        simulation.run(&mut |_, _| match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    plain(py, &report.map_err(Raise::raise)?)
}

/// Runs a trace through eviction policies at many cache sizes: more memory, or a better
/// policy?
///
/// Args:
///     trace: path of a trace, or paths or folder of agent sessions; a made-up trace if not
///         given.
///     policies: names from `POLICIES`; lru and a handful that beat it in places if not
///         given. "opt" and "infinite" always come with them.
///     sizes: blocks (300, "1k"), memory ("12.58GiB"), or parts of the working set ("10%"); if
///         not given, the deployment's and 12 from the longest request to the working set.
///     rule: which blocks of a prompt count: "engine" (full ones, the last token is computed
///         again) or "blocks" (all alike).
///     layout: what a block takes, whatever its `block_size`: the trace names the blocks; if
///         not given, Qwen3-32B in fp8 on two GPUs.
///     deployment_blocks: size of your own pool, in blocks of the trace; if neither this nor
///         `layout` is given, what two GPUs with 12.58 GiB each hold.
///     threads: one per core if not given.
///     trace_format, trace_block_size, users, trace_seed: as of `kvkeep trace --help`.
///     tokenizer: path of the tokenizer.json for chat transcripts.
///
/// Returns:
///     A dict, as `kvkeep sweep --format json` prints it; `pandas.DataFrame` takes its
///     "rows", "needed" and "verdicts".
///
/// Raises:
///     TraceError: the trace cannot be read; says where.
///     UnknownPolicyError: there is no such policy.
///     ValueError: no such rule, format or size.
///
/// Runs without the GIL; Ctrl-C stops it.
#[pyfunction]
#[pyo3(name = "sweep")]
#[pyo3(signature = (
    trace=None, *, policies=None, sizes=None, rule="engine", layout=None, deployment_blocks=None,
    threads=None, trace_format=None, trace_block_size=None, users=None, trace_seed=None,
    tokenizer=None,
))]
fn sweep_trace<'py>(
    py: Python<'py>,
    trace: Option<Paths>,
    policies: Option<Vec<String>>,
    sizes: Option<Vec<SizeName>>,
    rule: &str,
    layout: Option<&KvLayout>,
    deployment_blocks: Option<u32>,
    threads: Option<NonZeroUsize>,
    trace_format: Option<&str>,
    trace_block_size: Option<NonZeroU32>,
    users: Option<NonZeroU32>,
    trace_seed: Option<u64>,
    tokenizer: Option<PathBuf>,
) -> PyResult<Bound<'py, PyAny>> {
    let policies: Vec<Policy> = match policies {
        None => Policy::usual().collect(),
        Some(names) => names
            .iter()
            .map(|name| name.parse().map_err(kvkeep_sim::UnknownPolicy::raise))
            .collect::<PyResult<_>>()?,
    };
    let sizes = sizes.unwrap_or_default().into_iter().map(|SizeName(size)| size).collect();
    let rule = [Rule::Engine, Rule::Blocks].into_iter().find(|known| known.name() == rule);
    let rule = rule.ok_or_else(|| PyValueError::new_err("rule: there are engine and blocks"))?;
    let reading = reading(trace_format, trace_block_size, users, trace_seed, tokenizer)?;
    let paths = trace.map_or(Vec::new(), |Paths(paths)| paths);
    let work = Work { paths, reading, policies, sizes, rule, threads, deployment_blocks };
    let layout = layout.map(|layout| layout.0);
    let report = interruptible(py, move |stop| work.run(layout, stop))?;
    plain(py, &report.map_err(Raise::raise)?)
}

/// A path, or several.
struct Paths(Vec<PathBuf>);

impl<'a, 'py> FromPyObject<'a, 'py> for Paths {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(path) => Ok(Paths(vec![path])),
            Err(_) => object.extract().map(Paths),
        }
    }
}

/// A size as a number of blocks, or as the command line takes it.
struct SizeName(Size);

impl<'a, 'py> FromPyObject<'a, 'py> for SizeName {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let name = match object.extract::<u64>() {
            Ok(blocks) => blocks.to_string(),
            Err(_) => object.extract()?,
        };
        let size = Size::parse(&name);
        size.map(SizeName).map_err(|error| PyValueError::new_err(format!("sizes: {name}: {error}")))
    }
}

/// A sweep to run, without the GIL.
struct Work {
    paths: Vec<PathBuf>,
    reading: OpenOptions,
    policies: Vec<Policy>,
    sizes: Vec<Size>,
    rule: Rule,
    threads: Option<NonZeroUsize>,
    deployment_blocks: Option<u32>,
}

impl Work {
    fn run(
        self,
        layout: Option<budget::KvLayout>,
        stop: &Arc<AtomicBool>,
    ) -> Result<sweep::Report, SweepError> {
        let Named { name, source } = Named::open(&self.paths, &self.reading)?;
        let mut memory = match layout {
            None => Memory::of_deployment(source.block_size())?,
            Some(layout) => Memory::of_layout(&layout, source.block_size())?,
        };
        memory.deployment = self.deployment_blocks.or(memory.deployment);
        let trace = Trace::read(&mut Watched { source, stop })?;
        let accesses = Accesses::new(&trace, self.rule).until(Arc::clone(stop));
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let sweep = Sweep::new(&accesses, self.threads.unwrap_or_else(cores));
        let (policies, sizes) = (&self.policies, &self.sizes);
        Ok(sweep::Report::new(name, &sweep, policies, sizes, &memory, &|_, _, _| ())?)
    }
}

/// A trace that ends where Python wants to stop.
struct Watched<'a> {
    source: Box<dyn Source<Error = TraceError>>,
    stop: &'a AtomicBool,
}

impl Source for Watched<'_> {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.source.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        Ok(!self.stop.load(Ordering::Relaxed) && self.source.read_next(request)?)
    }
}

/// Why there is no sweep.
enum SweepError {
    Trace(TraceError),
    Memory(MemoryError),
    Report(ReportError),
}

impl From<TraceError> for SweepError {
    fn from(error: TraceError) -> Self {
        SweepError::Trace(error)
    }
}

impl From<MemoryError> for SweepError {
    fn from(error: MemoryError) -> Self {
        SweepError::Memory(error)
    }
}

impl From<ReportError> for SweepError {
    fn from(error: ReportError) -> Self {
        SweepError::Report(error)
    }
}

impl Raise for SweepError {
    fn raise(self) -> PyErr {
        match self {
            SweepError::Trace(error) => error.raise(),
            SweepError::Memory(error) => error.raise(),
            SweepError::Report(ReportError::Size(error)) => {
                PyValueError::new_err(format!("sizes: {error}"))
            }
            SweepError::Report(ReportError::Replay(error)) => error.raise(),
        }
    }
}

fn reading(
    format: Option<&str>,
    block_size: Option<NonZeroU32>,
    users: Option<NonZeroU32>,
    seed: Option<u64>,
    tokenizer: Option<PathBuf>,
) -> PyResult<OpenOptions> {
    let named = |name: &str| {
        let known = Format::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| {
            let names = Format::ALL.map(Format::name).join(", ");
            PyValueError::new_err(format!("trace_format {name:?} is unknown; there are {names}"))
        })
    };
    let format = format.map(named).transpose()?;
    Ok(OpenOptions { format, block_size, users, seed, tokenizer })
}

/// A report as Python's plain data, by way of the JSON that the command line prints.
fn plain<'py>(py: Python<'py>, report: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let json =
        serde_json::to_string(report).map_err(|error| PyValueError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (json,))
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(simulate, module)?)?;
    module.add_function(wrap_pyfunction!(sweep_trace, module)?)
}
