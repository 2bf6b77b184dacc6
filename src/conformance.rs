//! Runs an eviction policy through everything that can happen to it.
//!
//! The manager keeps the rules whatever a policy answers (it evicts only what it offered),
//! so what is left to get wrong is: to name no candidate although there is one, to keep
//! something beyond its end, to depend on anything but the events, or to panic.

use crate::evict::{EvictionPolicy, SplitMix};
use crate::{BlockId, BlockManager, Config, Error, Identity, Retention, SeqId};
use std::fmt;

/// Operations of one case.
const OPERATIONS: usize = 300;
/// Sequences that run at once, at most.
const RUNNING: usize = 4;

/// What a policy did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConformanceError {
    /// The case, which repeats with the same number.
    pub case: u64,
    /// Operations of the case until it showed.
    pub operation: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// A rule that a policy broke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// `victim` named nothing, or no candidate, although there was one.
    NoCandidate,
    /// The same operations led to other evictions the second time.
    NotDeterministic,
    /// The manager's own invariants do not hold: a bug in kvkeep.
    Invariant(crate::InvariantError),
    /// The manager refused an operation: a bug in kvkeep.
    Refused(Error),
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {}, operation {}: ", self.case, self.operation)?;
        match &self.fault {
            Fault::NoCandidate => f.write_str(
                "`victim` did not name a candidate, although there was one; a candidate is a \
                 block since its `offer`, until its `retract` or `remove`, or `clear`",
            ),
            Fault::NotDeterministic => f.write_str(
                "the same events led to another victim; let nothing but the events decide, no \
                 clock, no address, no hash map's order, no unseeded random number",
            ),
            Fault::Invariant(error) => error.fmt(f),
            Fault::Refused(error) => write!(f, "{error}; please report it"),
        }
    }
}

impl std::error::Error for ConformanceError {}

/// Runs `cases` random cases with policies that `policy` makes: requests with shared prefixes
/// on pools of 2 to 24 blocks, run side by side, committed, reverted, withdrawn, preempted, forked
/// and adopted, with retention hints that expire, and epochs. After every operation all invariants
/// are checked; each case runs twice and has to evict the same blocks.
///
/// About 10 ms per case in a release build. Start with 100 cases.
///
/// # Errors
/// The first case that fails.
pub fn check<P: EvictionPolicy>(
    mut policy: impl FnMut() -> P,
    cases: u64,
) -> Result<(), ConformanceError> {
    for case in 0..cases {
        let first = run(policy(), case)?;
        let second = run(policy(), case)?;
        if let Some(operation) = (0..first.len()).find(|&at| first.get(at) != second.get(at)) {
            return Err(ConformanceError { case, operation, fault: Fault::NotDeterministic });
        }
    }
    Ok(())
}

/// Runs one case; returns the block tables after each operation, where evictions show.
fn run<P: EvictionPolicy>(policy: P, case: u64) -> Result<Vec<Vec<BlockId>>, ConformanceError> {
    let mut random = SplitMix::new(case);
    let num_blocks = 2 + random.below(23) as u32;
    let config = Config::new(num_blocks).block_size(1 + random.below(2));
    let fail = |operation, fault| ConformanceError { case, operation, fault };
    let kv = BlockManager::with_policy(config, policy).expect("24 blocks are always granted");
    let mut rig = Rig { kv, running: Vec::new(), random, now_ms: 0 };
    let mut trail = Vec::new();
    for operation in 0..OPERATIONS {
        rig.act().map_err(|error| fail(operation, Fault::Refused(error)))?;
        rig.kv.validate().map_err(|error| fail(operation, Fault::Invariant(error)))?;
        if rig.kv.stats().overruled_victims > 0 {
            return Err(fail(operation, Fault::NoCandidate));
        }
        trail.push(rig.tables());
    }
    // Everything must come out in the end.
    rig.drain().map_err(|error| fail(OPERATIONS, Fault::Refused(error)))?;
    rig.kv.validate().map_err(|error| fail(OPERATIONS, Fault::Invariant(error)))?;
    if rig.kv.stats().overruled_victims > 0 {
        return Err(fail(OPERATIONS, Fault::NoCandidate));
    }
    Ok(trail)
}

struct Rig<P: EvictionPolicy> {
    kv: BlockManager<crate::hash::Xxh3, P>,
    running: Vec<SeqId>,
    random: SplitMix,
    now_ms: u64,
}

impl<P: EvictionPolicy> Rig<P> {
    fn act(&mut self) -> Result<(), Error> {
        match self.random.below(24) {
            0..=6 => self.admit(),
            7..=14 => self.step(),
            15..=18 => self.end(),
            19 => self.fork(),
            20 => self.hint(),
            21 => self.adopt(),
            22 => {
                self.now_ms += self.random.below(40) as u64;
                self.kv.advance_time(self.now_ms)
            }
            _ if self.random.below(6) == 0 => {
                self.kv.invalidate_all();
                Ok(())
            }
            _ => self.append(),
        }
    }

    fn pick(&mut self) -> Option<SeqId> {
        let running = self.running.len();
        (running > 0).then(|| self.running[self.random.below(running)])
    }

    /// A request whose prompt walks down a small tree.
    fn admit(&mut self) -> Result<(), Error> {
        let most = self.kv.num_tokens().min(14);
        let length = 1 + self.random.below(most);
        let prompt: Vec<u32> = (0..length).map(|_| self.random.below(5) as u32 / 4).collect();
        if self.running.len() == RUNNING {
            self.end()?;
        }
        let seq = self.kv.admit(&prompt, &Identity::default())?.seq;
        let turn = (self.random.below(2) == 0).then(|| self.random.below(4) as u32);
        self.kv.describe(seq, self.random.below(3) as u16, turn)?;
        if self.random.below(8) == 0 {
            return self.kv.withdraw(seq);
        }
        self.running.push(seq);
        self.step_of(seq)
    }

    fn step(&mut self) -> Result<(), Error> {
        match self.pick() {
            Some(seq) => self.step_of(seq),
            None => self.admit(),
        }
    }

    /// A step of all waiting tokens or of some, which may be reverted, or left open.
    fn step_of(&mut self, seq: SeqId) -> Result<(), Error> {
        if self.kv.revert(seq).is_ok() && self.random.below(2) == 0 {
            return Ok(());
        }
        let waiting = self.kv.tokens_known(seq)? - self.kv.tokens_computed(seq)?;
        if waiting == 0 {
            return Ok(());
        }
        let tokens = match self.random.below(3) {
            0 => 1 + self.random.below(waiting),
            _ => waiting,
        };
        match self.kv.reserve(seq, tokens) {
            Ok(_) => {}
            Err(Error::OutOfBlocks { .. }) => {
                self.running.retain(|&other| other != seq);
                return self.kv.preempt(seq);
            }
            Err(error) => return Err(error),
        }
        match self.random.below(10) {
            0 => self.kv.revert(seq),
            1 => Ok(()),
            _ => self.kv.commit(seq, tokens).map(|_| ()),
        }
    }

    fn append(&mut self) -> Result<(), Error> {
        let Some(seq) = self.pick() else { return Ok(()) };
        match self.kv.append(seq, self.random.below(2) as u32) {
            Err(Error::TooLong { .. }) => Ok(()),
            other => other,
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(seq) = self.pick() else { return Ok(()) };
        self.running.retain(|&other| other != seq);
        if self.random.below(4) == 0 { self.kv.preempt(seq) } else { self.kv.free(seq) }
    }

    fn fork(&mut self) -> Result<(), Error> {
        match self.pick() {
            Some(seq) if self.running.len() < RUNNING => match self.kv.fork(seq) {
                Ok(fork) => self.running.push(fork),
                Err(Error::StepOpen(_)) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
        Ok(())
    }

    fn hint(&mut self) -> Result<(), Error> {
        let Some(seq) = self.pick() else { return Ok(()) };
        let retention = match self.random.below(3) {
            0 => Retention::not_reused(),
            1 => Retention::priority(self.random.below(101) as u8)?,
            _ => Retention::priority(90)?.for_ms(self.random.below(60) as u64),
        };
        let start = self.random.below(6);
        match self.kv.retain(seq, start.., retention) {
            Err(Error::TooManyHints { .. }) => Ok(()),
            other => other,
        }
    }

    fn adopt(&mut self) -> Result<(), Error> {
        let Some(seq) = self.pick() else { return Ok(()) };
        let Some(duplicate) = self.kv.duplicates(seq)?.last().copied() else { return Ok(()) };
        match self.kv.adopt(seq, duplicate.position) {
            Ok(_) | Err(Error::StepOpen(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends all requests, then takes every block for one that shares nothing.
    fn drain(&mut self) -> Result<(), Error> {
        while !self.running.is_empty() {
            self.end()?;
        }
        let prompt = vec![u32::MAX; self.kv.num_tokens()];
        let seq = self.kv.admit(&prompt, &Identity::default())?.seq;
        self.kv.reserve(seq, prompt.len())?;
        self.kv.free(seq)
    }

    fn tables(&self) -> Vec<BlockId> {
        let tables = self.running.iter().filter_map(|&seq| self.kv.block_table(seq).ok());
        tables.flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::{CandidateHeap, Lru};

    /// Insertion order among candidates, with a defect of choice.
    struct Oldest {
        heap: CandidateHeap<u32>,
        defect: Defect,
        salt: u32,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Defect {
        None,
        KeepsRemoved,
        ForgetsClear,
        IgnoresRetract,
        NamesNothing,
        NotDeterministic,
    }

    impl EvictionPolicy for Oldest {
        fn init(&mut self, num_blocks: usize) {
            self.heap = CandidateHeap::new(num_blocks);
        }

        fn offer(&mut self, block: BlockId) {
            self.heap.insert(block, block.get() ^ self.salt);
        }

        fn retract(&mut self, block: BlockId) {
            if self.defect != Defect::IgnoresRetract {
                self.heap.remove(block);
            }
        }

        fn victim(&mut self) -> Option<BlockId> {
            self.heap.first().filter(|_| self.defect != Defect::NamesNothing)
        }

        fn remove(&mut self, block: BlockId) {
            if self.defect != Defect::KeepsRemoved {
                self.heap.remove(block);
            }
        }

        fn clear(&mut self) {
            if self.defect != Defect::ForgetsClear {
                self.heap.clear();
            }
        }
    }

    fn fault(defect: Defect) -> Option<Fault> {
        let mut made = 0;
        let make = || {
            made += 1;
            let salt = if defect == Defect::NotDeterministic { made % 2 * 3 } else { 0 };
            Oldest { heap: CandidateHeap::new(0), defect, salt }
        };
        check(make, 60).err().map(|error| error.fault)
    }

    #[test]
    fn good_policies_pass() {
        assert_eq!(check(|| Lru, 60), Ok(()));
        assert_eq!(fault(Defect::None), None);
    }

    #[test]
    fn every_defect_is_found() {
        for defect in [
            Defect::KeepsRemoved,
            Defect::ForgetsClear,
            Defect::IgnoresRetract,
            Defect::NamesNothing,
        ] {
            assert_eq!(fault(defect), Some(Fault::NoCandidate));
        }
        assert_eq!(fault(Defect::NotDeterministic), Some(Fault::NotDeterministic));
    }
}
