//! The four micro workloads, for any [`Peer`].
//!
//! A workload is set up once and then measured in rounds; a round prepares its tokens,
//! times only the manager's work, and leaves the pool as the next round needs it. Each
//! round also checks that the manager did the work (hits where hits were laid out): a
//! number for something else must not reach a table.
//!
//! Needs `std`, [`peer`](crate::peer), [`work`](crate::work) and a `clock` module, so that
//! a bench without the peers can include the three files by path and bring its clock.

use std::rc::Rc;
use std::time::Duration;

use crate::clock;
use crate::peer::{Order, Peer, empty_pool, fill, prefill};
use crate::work::{BLOCK_SIZE, append_text, text, token};

/// Blocks of the pool in every micro workload that does not say otherwise.
pub(crate) const POOL_BLOCKS: usize = 100_000;

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Blocks, tokens or allocations, as the workload counts.
    pub(crate) units: usize,
    /// Time inside the manager.
    pub(crate) elapsed: Duration,
}

impl Round {
    /// Nanoseconds per unit.
    pub(crate) fn ns_per_unit(self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.units as f64
    }
}

/// A workload that is set up and can be measured again and again.
pub(crate) trait Workload {
    /// Runs one round.
    fn round(&mut self) -> Round;
}

/// Admits and releases prompts that are wholly cached; the unit is a block.
///
/// The prompts have one token more than their cached blocks, so that a manager that
/// always leaves the last token to compute can hit all of them too.
pub(crate) struct Hit<P: Peer> {
    peer: P,
    prompts: Rc<[Vec<u32>]>,
}

/// Prompts of [`Hit`].
const HIT_PROMPTS: u64 = 40;
/// Blocks of each that are cached: 32,768 tokens.
const HIT_PROMPT_BLOCKS: usize = 2048;

/// The prompts of [`Hit`], to be shared between sides.
pub(crate) fn hit_prompts() -> Rc<[Vec<u32>]> {
    let num_tokens = HIT_PROMPT_BLOCKS * BLOCK_SIZE + 1;
    (0..HIT_PROMPTS).map(|content| text(content, num_tokens)).collect()
}

impl<P: Peer> Hit<P> {
    /// A full pool that holds the prompts.
    pub(crate) fn new(order: Order, prompts: Rc<[Vec<u32>]>) -> Self {
        let mut peer = empty_pool::<P>(POOL_BLOCKS, order);
        let other_blocks = POOL_BLOCKS - prompts.len() * HIT_PROMPT_BLOCKS;
        fill(&mut peer, other_blocks, HIT_PROMPT_BLOCKS);
        for prompt in prompts.iter() {
            prefill(&mut peer, &prompt[..HIT_PROMPT_BLOCKS * BLOCK_SIZE]);
        }
        Self { peer, prompts }
    }
}

impl<P: Peer> Workload for Hit<P> {
    fn round(&mut self) -> Round {
        let mut tokens_cached = 0;
        let start = clock::now();
        for prompt in self.prompts.iter() {
            let (sequence, tokens) = self.peer.admit(prompt);
            tokens_cached += tokens;
            self.peer.release(sequence);
        }
        let elapsed = clock::now() - start;
        let units = self.prompts.len() * HIT_PROMPT_BLOCKS;
        assert_eq!(tokens_cached, units * BLOCK_SIZE, "{}: not every block hit", P::NAME);
        Round { units, elapsed }
    }
}

/// Requests of 256 blocks on a full pool: the first half hits, the rest evicts, is
/// published and released; the unit is a block, hit or not.
pub(crate) struct Steady<P: Peer> {
    peer: P,
    requests_made: u64,
    batch: Vec<Vec<u32>>,
}

impl<P: Peer> Steady<P> {
    /// Prefixes that the requests take turns with. The time between two uses is far
    /// shorter than the pool needs to turn over, so they stay cached.
    const PREFIXES: u64 = 64;
    const PREFIX_BLOCKS: usize = 128;
    const FRESH_BLOCKS: usize = 128;
    const REQUESTS_PER_ROUND: usize = 256;

    /// A pool of `num_blocks` that such requests have filled and turned over once.
    pub(crate) fn new(num_blocks: usize, order: Order) -> Self {
        let mut steady = Self {
            peer: empty_pool(num_blocks, order),
            requests_made: 0,
            batch: vec![Vec::new(); Self::REQUESTS_PER_ROUND],
        };
        while steady.requests_made as usize * Self::FRESH_BLOCKS < 2 * num_blocks {
            steady.write_batch();
            for prompt in &steady.batch {
                prefill(&mut steady.peer, prompt);
            }
        }
        steady
    }

    fn write_batch(&mut self) {
        for prompt in &mut self.batch {
            prompt.clear();
            let prefix = self.requests_made % Self::PREFIXES;
            append_text(prefix, Self::PREFIX_BLOCKS * BLOCK_SIZE, prompt);
            let fresh = (1 << 32) + self.requests_made;
            append_text(fresh, Self::FRESH_BLOCKS * BLOCK_SIZE, prompt);
            self.requests_made += 1;
        }
    }
}

impl<P: Peer> Workload for Steady<P> {
    fn round(&mut self) -> Round {
        self.write_batch();
        let mut tokens_cached = 0;
        let start = clock::now();
        for prompt in &self.batch {
            tokens_cached += prefill(&mut self.peer, prompt);
        }
        let elapsed = clock::now() - start;
        let hit_blocks = self.batch.len() * Self::PREFIX_BLOCKS;
        assert_eq!(tokens_cached, hit_blocks * BLOCK_SIZE, "{}: a half must hit", P::NAME);
        let units = self.batch.len() * (Self::PREFIX_BLOCKS + Self::FRESH_BLOCKS);
        Round { units, elapsed }
    }
}

/// 64 running sequences take a token each in turn, on a pool that is full, so that each
/// new block evicts; the unit is a token.
pub(crate) struct Decode<P: Peer> {
    peer: P,
    next_content: u64,
}

impl<P: Peer> Decode<P> {
    const SEQUENCES: u64 = 64;
    const PROMPT_TOKENS: usize = 1024;
    const TOKENS_PER_ROUND: usize = 512;

    /// A full pool.
    pub(crate) fn new() -> Self {
        let mut peer = empty_pool::<P>(POOL_BLOCKS, Order::Allocation);
        fill(&mut peer, POOL_BLOCKS, 64);
        Self { peer, next_content: 0 }
    }

    fn start(&mut self) -> P::Sequence {
        let prompt = text(self.next_content, Self::PROMPT_TOKENS);
        self.next_content += 1;
        let (mut sequence, _) = self.peer.admit(&prompt);
        self.peer.allocate(&mut sequence);
        self.peer.publish(&mut sequence);
        sequence
    }
}

impl<P: Peer> Workload for Decode<P> {
    fn round(&mut self) -> Round {
        let mut running: Vec<P::Sequence> = (0..Self::SEQUENCES).map(|_| self.start()).collect();
        let tokens: Vec<u32> =
            (0..Self::TOKENS_PER_ROUND).map(|index| token(u64::MAX, index)).collect();
        let start = clock::now();
        for &token in &tokens {
            for sequence in &mut running {
                self.peer.decode(sequence, token);
            }
        }
        let elapsed = clock::now() - start;
        let units = tokens.len() * running.len();
        for sequence in running {
            self.peer.release(sequence);
        }
        Round { units, elapsed }
    }
}

/// Takes one block at a time from a pool in which every block is cached and is the end
/// of a chain; the unit is an allocation, each of which evicts.
///
/// A batch is as many requests as an engine may run at once, so that what a manager keeps
/// per request is as warm as it would be there.
pub(crate) struct Evict<P: Peer> {
    peer: P,
    next_content: u64,
}

impl<P: Peer> Evict<P> {
    const BATCHES_PER_ROUND: usize = 80;
    const REQUESTS_PER_BATCH: u64 = 256;

    /// A pool full of chains of one block.
    pub(crate) fn new() -> Self {
        let mut peer = empty_pool::<P>(POOL_BLOCKS, Order::Allocation);
        fill(&mut peer, POOL_BLOCKS, 1);
        Self { peer, next_content: 0 }
    }

    fn batch(&mut self) -> Round {
        let contents = self.next_content..self.next_content + Self::REQUESTS_PER_BATCH;
        self.next_content = contents.end;
        let mut admitted: Vec<P::Sequence> =
            contents.map(|content| self.peer.admit(&text(content, BLOCK_SIZE)).0).collect();
        let start = clock::now();
        for sequence in &mut admitted {
            self.peer.allocate(sequence);
        }
        let elapsed = clock::now() - start;
        let units = admitted.len();
        // The pool has to be full of leaves again.
        for mut sequence in admitted {
            self.peer.publish(&mut sequence);
            self.peer.release(sequence);
        }
        Round { units, elapsed }
    }
}

impl<P: Peer> Workload for Evict<P> {
    fn round(&mut self) -> Round {
        let mut whole = Round { units: 0, elapsed: Duration::ZERO };
        for _ in 0..Self::BATCHES_PER_ROUND {
            let batch = self.batch();
            whole.units += batch.units;
            whole.elapsed += batch.elapsed;
        }
        whole
    }
}
