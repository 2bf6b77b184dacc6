//! A sweep against single replays, counts worked out by hand, and any number of threads.

mod support;

use kvkeep::evict::Lru;
use kvkeep_sim::{Accesses, Hits, Opt, Policy, ReplayError, Row, Rule, Sweep, replay};
use proptest::prelude::*;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::{prompts, trace, trace_of};

fn threads(threads: usize) -> NonZeroUsize {
    NonZeroUsize::new(threads).expect("at least one thread")
}

/// Two blocks each; ids are prefixes, so all eight blocks but `ab` (twice) are different.
fn small() -> Accesses {
    Accesses::new(&trace(&[b"ab", b"cd", b"ef", b"ab"]), Rule::Blocks)
}

#[test]
fn worked_by_hand() {
    let accesses = small();
    let sweep = Sweep::new(&accesses, threads(2));
    let fifo = "fifo".parse().unwrap();
    let rows = sweep.rows(&[fifo, Policy::LRU, fifo], &[6, 2, 4, 4], &|_, _| ()).unwrap();
    let row = |policy, blocks, hit, rejected, evicted| Row {
        policy,
        blocks,
        hits: Hits { hit, total: 8, rejected, evicted },
    };
    // 2 blocks: each request takes the room of the one before. 4: `ef` takes the room of `ab`,
    // and `ab` that of `cd`; OPT lets `cd` go. 6: all fit.
    let expected = [
        row(fifo, 2, 0, 0, 6),
        row(fifo, 4, 0, 0, 4),
        row(fifo, 6, 2, 0, 0),
        row(Policy::LRU, 2, 0, 0, 6),
        row(Policy::LRU, 4, 0, 0, 4),
        row(Policy::LRU, 6, 2, 0, 0),
        row(Policy::Opt, 2, 0, 0, 6),
        row(Policy::Opt, 4, 2, 0, 2),
        row(Policy::Opt, 6, 2, 0, 0),
        row(Policy::Infinite, 6, 2, 0, 0),
    ];
    assert_eq!(rows, expected);
    let needed = sweep.needed(&[fifo, Policy::LRU], &[0.5, 1.0], &rows, &|_, _| ()).unwrap();
    let blocks: Vec<_> = needed.iter().map(|need| (need.policy, need.share, need.blocks)).collect();
    assert_eq!(
        blocks,
        [
            (fifo, 0.5, 5),
            (fifo, 1.0, 6),
            (Policy::LRU, 0.5, 5),
            (Policy::LRU, 1.0, 6),
            // With three blocks `cd` leaves `a` there.
            (Policy::Opt, 0.5, 3),
            (Policy::Opt, 1.0, 4),
        ]
    );
}

#[test]
fn where_nothing_hits_no_size_is_needed() {
    let accesses = Accesses::new(&trace(&[b"ab", b"cd"]), Rule::Blocks);
    let sweep = Sweep::new(&accesses, threads(1));
    assert_eq!(sweep.needed(&[Policy::LRU], &[0.9], &[], &|_, _| ()), Ok(Vec::new()));
    assert_eq!(sweep.rows(&[], &[], &|_, _| ()).unwrap(), [sweep.infinite()]);
}

#[test]
fn a_cache_without_blocks_is_an_error() {
    let accesses = small();
    let sweep = Sweep::new(&accesses, threads(2));
    assert!(sweep.rows(&[Policy::LRU], &[4, 0], &|_, _| ()).is_err());
}

#[test]
fn progress_counts_every_job() {
    let accesses = small();
    let told = Mutex::new(Vec::new());
    let tell = |done, of| told.lock().unwrap().push((done, of));
    Sweep::new(&accesses, threads(3)).rows(&[Policy::LRU], &[3, 4, 5], &tell).unwrap();
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_number_of_threads_does_not_matter_and_no_policy_beats_the_bounds(
        prompts in prompts(3, 9, 60),
    ) {
        let accesses = Accesses::new(&trace_of(&prompts), Rule::Blocks);
        let policies: Vec<Policy> = Policy::all().collect();
        let sizes = [2, 5, 10, 11, 14, 20, 40];
        let one = Sweep::new(&accesses, threads(1));
        let rows = one.rows(&policies, &sizes, &|_, _| ()).unwrap();
        let needed = one.needed(&policies, &[0.5, 0.9, 1.0], &rows, &|_, _| ()).unwrap();
        for count in [2, 5] {
            let many = Sweep::new(&accesses, threads(count));
            prop_assert_eq!(&many.rows(&policies, &sizes, &|_, _| ()).unwrap(), &rows);
            let again = many.needed(&policies, &[0.5, 0.9, 1.0], &rows, &|_, _| ()).unwrap();
            prop_assert_eq!(&again, &needed);
        }
        for row in &rows[..rows.len() - 1] {
            let at = |policy| one.hits(policy, row.blocks).unwrap().hit;
            prop_assert!(row.hits.hit <= at(Policy::Opt), "{:?}", row);
            prop_assert!(row.hits.rejected > 0 || row.hits.hit <= one.infinite().hits.hit);
        }
    }

    #[test]
    fn lru_is_the_same_from_its_curve_and_from_replays(
        prompts in prompts(3, 9, 60),
        engine: bool,
        blocks in 1_u32..40,
        share in 0.01..1.0,
    ) {
        let rule = if engine { Rule::Engine } else { Rule::Blocks };
        let accesses = Accesses::new(&trace_of(&prompts), rule);
        let sweep = Sweep::new(&accesses, threads(1));
        let of_replay = replay(&accesses, blocks, Lru).unwrap();
        prop_assert_eq!(sweep.hits(Policy::LRU, blocks).unwrap(), of_replay);
        for need in sweep.needed(&[Policy::LRU], &[share], &[], &|_, _| ()).unwrap() {
            let hit = |blocks| match need.policy {
                Policy::LRU => replay(&accesses, blocks, Lru).unwrap().hit,
                _ => replay(&accesses, blocks, Opt::new(&accesses, blocks)).unwrap().hit,
            };
            let target = share * sweep.infinite().hits.hit as f64;
            prop_assert!(hit(need.blocks) as f64 >= target, "{:?}", need);
            prop_assert!(need.blocks == 1 || (hit(need.blocks - 1) as f64) < target, "{:?}", need);
        }
    }
}

#[test]
fn a_sweep_that_is_stopped_says_so_from_any_point_on() {
    let stop = Arc::new(AtomicBool::new(false));
    let accesses = small().until(Arc::clone(&stop));
    let sweep = Sweep::new(&accesses, threads(2));
    let after_two = |done: usize, _| stop.store(done >= 2, Ordering::Relaxed);
    let fifo = "fifo".parse().unwrap();
    assert!(sweep.rows(&[fifo], &[4, 5], &|_, _| ()).is_ok());
    assert_eq!(sweep.rows(&[fifo], &[3, 4, 5], &after_two), Err(ReplayError::Stopped));
    assert_eq!(accesses.iter().count(), 0);
    // What is begun afterwards does not fail otherwise, and is no longer than it must be.
    let late = Sweep::new(&accesses, threads(2));
    assert_eq!(late.rows(&[fifo], &[2, 1_000_000], &|_, _| ()), Err(ReplayError::Stopped));
    assert_eq!(late.hits(Policy::LRU, 6), Err(ReplayError::Stopped));
}
