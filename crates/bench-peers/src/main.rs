//! Runs the same block-manager work through kvkeep and through kvbm-logical, in one
//! process and in turns, and prints how they compare.
//!
//! Own crate, outside the default build, so that kvbm's dependencies stay out of the
//! library's.

mod clock;
mod counting;
mod drive;
mod kvbm;
mod kvkeep;
mod peer;
mod report;
mod trace;
mod work;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Parser, ValueEnum};

use crate::counting::{Counting, Live};
use crate::drive::{Decode, Evict, Hit, POOL_BLOCKS, Steady, Workload, hit_prompts};
use crate::kvbm::{KvbmLineage, KvbmLru, KvbmLruFreeHash};
use crate::kvkeep::{HashOnly, Kvkeep, Verified};
use crate::peer::{Order, Peer, empty_pool, fill};
use crate::report::{Answer, Better, Comparison, Question, Report, Setting, write_head};
use crate::trace::{Replay, Row};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Compare kvkeep with kvbm-logical on the same work.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Workloads to run; all without it
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Measured rounds per side, after one warm-up round
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measured replays of the trace per side (seconds each), without a warm-up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    replays: u32,
    /// Directory that holds mooncake_conversation_trace.jsonl
    #[arg(long, value_name = "DIR", env = "KVKEEP_TRACES")]
    traces: Option<PathBuf>,
    /// File for the raw result: every sample of every side
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Admit and release wholly cached prompts of 32k tokens
    Hit,
    /// Full pool, requests of 256 blocks, half of them hits
    Steady,
    /// Append and commit one token at a time
    Decode,
    /// Take a block among 100,000 cached leaves
    Evict,
    /// Heap bytes per block with all blocks cached
    Metadata,
    /// Replay the Mooncake conversation trace
    Trace,
}

/// Evaluates an expression that is generic over the side once per side; the first side
/// is the one that the others are compared with.
macro_rules! each_side {
    (|$side:ident| $call:expr) => {
        each_side!(
            |$side| $call,
            [Kvkeep<Verified>, Kvkeep<HashOnly>, KvbmLru, KvbmLruFreeHash, KvbmLineage]
        )
    };
    (|$side:ident| $call:expr, [$($peer:ty),*]) => {
        vec![$({
            type $side = $peer;
            ($side::NAME, $call)
        }),*]
    };
}

type Sides = Vec<(&'static str, Box<dyn Workload>)>;

/// The rounds of all sides in turns; the order of the turns is reversed each round, so
/// that no side always runs on the caches that the same other side left.
fn take_turns(workload: String, unit: &'static str, mut sides: Sides, rounds: u32) -> Comparison {
    let mut answers: Vec<Answer> =
        sides.iter().map(|&(side, _)| Answer { side, samples: Vec::new() }).collect();
    for (_, side) in &mut sides {
        side.round();
    }
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let i = if round % 2 == 0 { turn } else { sides.len() - 1 - turn };
            answers[i].samples.push(sides[i].1.round().ns_per_unit());
        }
    }
    Comparison { question: Question { workload, unit, better: Better::Lower }, answers }
}

fn hit(order: Order, rounds: u32) -> Comparison {
    let prompts = hit_prompts();
    let sides: Sides = each_side!(|Side| Box::new(Hit::<Side>::new(order, Rc::clone(&prompts))));
    take_turns(format!("hit-{}", order.name()), "ns/block", sides, rounds)
}

fn steady(num_blocks: usize, order: Order, rounds: u32) -> Comparison {
    let sides: Sides = each_side!(|Side| Box::new(Steady::<Side>::new(num_blocks, order)));
    let workload = format!("steady-{}k-{}", num_blocks / 1000, order.name());
    take_turns(workload, "ns/block", sides, rounds)
}

fn decode(rounds: u32) -> Comparison {
    let sides: Sides = each_side!(|Side| Box::new(Decode::<Side>::new()));
    take_turns("decode".to_owned(), "ns/token", sides, rounds)
}

fn evict(rounds: u32) -> Comparison {
    let sides: Sides = each_side!(|Side| Box::new(Evict::<Side>::new()));
    take_turns("evict".to_owned(), "ns/allocation", sides, rounds)
}

fn cached_pool_heap<P: Peer>() -> Live {
    counting::measure(|| {
        let mut peer = empty_pool::<P>(POOL_BLOCKS, Order::Allocation);
        fill(&mut peer, POOL_BLOCKS, 64);
        peer
    })
}

fn metadata() -> Vec<Comparison> {
    let heaps = each_side!(|Side| cached_pool_heap::<Side>());
    let per_block = |workload: &str, unit, count: fn(&Live) -> isize| Comparison {
        question: Question { workload: workload.to_owned(), unit, better: Better::Lower },
        answers: heaps
            .iter()
            .map(|(side, live)| Answer {
                side,
                samples: vec![count(live) as f64 / POOL_BLOCKS as f64],
            })
            .collect(),
    };
    vec![
        per_block("metadata", "bytes/block", |live| live.bytes),
        per_block("metadata-allocations", "allocations/block", |live| live.allocations),
    ]
}

fn replay_trace(rows: &[Row], replays: u32) -> Vec<Comparison> {
    let turns: Vec<Vec<(&'static str, Replay)>> =
        (0..replays).map(|_| each_side!(|Side| trace::replay::<Side>(rows))).collect();
    let compare = |workload: &str, unit, better, value: fn(&Replay) -> f64| Comparison {
        question: Question { workload: workload.to_owned(), unit, better },
        answers: turns[0]
            .iter()
            .enumerate()
            .map(|(i, &(side, _))| Answer {
                side,
                samples: turns.iter().map(|turn| value(&turn[i].1)).collect(),
            })
            .collect(),
    };
    vec![
        compare("trace", "requests/s", Better::Higher, |replay| replay.requests_per_s),
        compare("trace-hit-rate", "cached/prompt", Better::Equal, |replay| replay.hit_rate),
    ]
}

fn compare(kind: Kind, args: &Args) -> Result<Vec<Comparison>, Box<dyn Error>> {
    let rounds = args.rounds;
    Ok(match kind {
        Kind::Hit => vec![hit(Order::Allocation, rounds), hit(Order::Scrambled, rounds)],
        Kind::Steady => vec![
            steady(POOL_BLOCKS, Order::Allocation, rounds),
            steady(POOL_BLOCKS, Order::Scrambled, rounds),
            steady(10 * POOL_BLOCKS, Order::Allocation, rounds),
            steady(10 * POOL_BLOCKS, Order::Scrambled, rounds),
        ],
        Kind::Decode => vec![decode(rounds)],
        Kind::Evict => vec![evict(rounds)],
        Kind::Metadata => metadata(),
        Kind::Trace => {
            let directory = args.traces.as_ref().ok_or(
                "trace: name the directory of mooncake_conversation_trace.jsonl with --traces \
                 or KVKEEP_TRACES",
            )?;
            replay_trace(&trace::read(directory)?, args.replays)
        }
    })
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut kinds = args.only.clone();
    if kinds.is_empty() {
        kinds = Kind::value_variants().to_vec();
        if args.traces.is_none() {
            eprintln!("trace: left out; name its directory with --traces or KVKEEP_TRACES");
            kinds.retain(|&kind| kind != Kind::Trace);
        }
    }
    let mut out = io::stdout().lock();
    let setting = Setting::read();
    write_head(&setting, &mut out)?;
    let mut comparisons = Vec::new();
    for kind in kinds {
        for comparison in compare(kind, args)? {
            comparison.write(&mut out)?;
            out.flush()?;
            comparisons.push(comparison);
        }
    }
    if let Some(path) = &args.json {
        let report = Report { setting, comparisons };
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|e| format!("--json {}: {e}", path.display()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
