//! Hit rates of a trace under LRU, from replays and from the curve, as CSV, with the time that
//! each took:
//!
//! ```sh
//! cargo run --release -p kvkeep-sim --example replay -- [TRACE] [BLOCKS ...]
//! ```
//!
//! Without a trace, a made-up one.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kvkeep::evict::Lru;
use kvkeep_sim::trace::{Generate, GenerateOptions, OpenOptions, Trace, open};
use kvkeep_sim::{Accesses, Curve, Rule, replay};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let trace = match arguments.next() {
        Some(path) => Trace::read(&mut open(&[path], &OpenOptions::default())?.source)?,
        None => Trace::read(&mut Generate::new(GenerateOptions::default())?)?,
    };
    let accesses = Accesses::new(&trace, Rule::Blocks);
    let mut sizes = arguments.map(|size| size.parse()).collect::<Result<Vec<u32>, _>>()?;
    if sizes.is_empty() {
        sizes = [10, 3, 1].map(|part| accesses.distinct_blocks() / part).to_vec();
    }

    println!("source,blocks,hit_rate,accesses,seconds");
    let accessed: usize = accesses.iter().map(|access| access.blocks.len()).sum();
    for &blocks in &sizes {
        let start = Instant::now();
        let hits = replay(&accesses, blocks, Lru)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("replay,{blocks},{:.6},{accessed},{seconds:.6}", hits.rate());
    }
    let start = Instant::now();
    let curve = Curve::lru(&accesses);
    let seconds = start.elapsed().as_secs_f64();
    for &blocks in &sizes {
        println!("curve,{blocks},{:.6},{accessed},{seconds:.6}", curve.rate(blocks));
    }
    Ok(())
}
