//! What a cache sees of a trace: for each request the blocks that it could hit and the
//! blocks that it leaves.
//!
//! Owns the rule for the last partial block and the last token, which every printed hit
//! rate depends on.

use crate::trace::Trace;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which blocks of a prompt count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// What engines do: only full blocks are cached, and the block that holds the last
    /// token is computed again. Hits are counted in tokens: cached / prompt tokens.
    #[default]
    Engine,
    /// Every block of the trace counts alike, the last partial one as well, and all can
    /// hit: cached / all blocks. What flat cache simulators do.
    Blocks,
}

impl Rule {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Engine => "engine",
            Rule::Blocks => "blocks",
        }
    }

    /// Blocks that a cache must have to run a prompt of so many tokens, of which the trace names
    /// `blocks`.
    fn needed(self, input_tokens: u32, blocks: usize, block_size: u32) -> u32 {
        match self {
            Rule::Engine => input_tokens.div_ceil(block_size).min(blocks as u32),
            Rule::Blocks => blocks as u32,
        }
    }

    /// Of a prompt of so many tokens in so many blocks: the blocks that are cached afterwards,
    /// from the first on, and how many of them may hit.
    pub(crate) fn kept_and_hittable(
        self,
        input_tokens: u32,
        blocks: usize,
        block_size: u32,
    ) -> (usize, u32) {
        match self {
            Rule::Engine => {
                let kept = (input_tokens / block_size).min(blocks as u32);
                (kept as usize, kept.min(input_tokens.saturating_sub(1) / block_size))
            }
            Rule::Blocks => (blocks, blocks as u32),
        }
    }

    /// What hits are counted in: the weight of a prompt of so many tokens and kept blocks.
    pub(crate) fn weight(self, input_tokens: u32, kept: usize) -> u64 {
        match self {
            Rule::Engine => u64::from(input_tokens),
            Rule::Blocks => kept as u64,
        }
    }

    /// The weight of a block that hits.
    pub(crate) fn weight_of_block(self, block_size: u32) -> u64 {
        match self {
            Rule::Engine => u64::from(block_size),
            Rule::Blocks => 1,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The accesses of a trace under a [`Rule`].
#[derive(Clone, Debug)]
pub struct Accesses {
    rule: Rule,
    block_size: u32,
    requests: Vec<Request>,
    blocks: Vec<u32>,
    distinct: u32,
    longest: u32,
    total: u64,
    stop: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    time_ms: u64,
    end: usize,
    /// Blocks from the start of the prompt that may hit: all, or all but the last.
    hittable: u32,
    needed: u32,
    turn: Option<u32>,
    category: u16,
    input_tokens: u32,
}

/// One request as a cache sees it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Arrival in ms.
    pub time_ms: u64,
    /// Blocks of the prompt that are cached afterwards, from the first on, numbered from 0.
    pub blocks: &'a [u32],
    /// How many of them may hit.
    pub hittable: u32,
    /// Blocks that a cache must have to run the request: those, and a partial last one.
    pub needed: u32,
    /// Kind of work.
    pub category: u16,
    /// Turn in its conversation.
    pub turn: Option<u32>,
    /// What the whole prompt weighs: tokens, or blocks, as the rule counts.
    pub weight: u64,
}

impl Accesses {
    /// The accesses of `trace`. O(blocks of all requests).
    #[must_use]
    pub fn new(trace: &Trace, rule: Rule) -> Accesses {
        let block_size = trace.block_size();
        let mut accesses = Accesses {
            rule,
            block_size,
            requests: Vec::with_capacity(trace.len()),
            blocks: Vec::new(),
            distinct: trace.distinct_blocks(),
            longest: 0,
            total: 0,
            stop: Arc::default(),
        };
        for (entry, blocks) in trace.requests() {
            let (kept, hittable) =
                rule.kept_and_hittable(entry.input_tokens, blocks.len(), block_size);
            accesses.blocks.extend_from_slice(&blocks[..kept]);
            accesses.requests.push(Request {
                time_ms: entry.time_ms,
                end: accesses.blocks.len(),
                hittable,
                needed: rule.needed(entry.input_tokens, blocks.len(), block_size),
                turn: entry.turn,
                category: entry.category,
                input_tokens: entry.input_tokens,
            });
            accesses.longest = accesses.longest.max(kept as u32);
            accesses.total += rule.weight(entry.input_tokens, kept);
        }
        accesses
    }

    /// Once `stop` is set, from any thread, whatever walks the accesses comes to its end, and a
    /// [`Sweep`](crate::Sweep) says that it was stopped. What else is made of them is of no use.
    #[must_use]
    pub fn until(self, stop: Arc<AtomicBool>) -> Accesses {
        Accesses { stop, ..self }
    }

    /// Whether they have come to their end early.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Tokens per block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Blocks are numbered below this.
    #[must_use]
    pub fn distinct_blocks(&self) -> u32 {
        self.distinct
    }

    /// Blocks of the longest request.
    #[must_use]
    pub fn longest_request(&self) -> u32 {
        self.longest
    }

    /// What hit rates are a share of: prompt tokens, or blocks.
    #[must_use]
    pub fn total_weight(&self) -> u64 {
        self.total
    }

    /// What `blocks` hit blocks of one request weigh.
    #[must_use]
    pub fn weight_of_hit(&self, blocks: u64) -> u64 {
        blocks * self.rule.weight_of_block(self.block_size)
    }

    /// The requests in order.
    pub fn iter(&self) -> impl Iterator<Item = Access<'_>> {
        let mut start = 0;
        let goes_on = |_: &&Request| !self.is_stopped();
        self.requests.iter().take_while(goes_on).map(move |request| {
            let blocks = &self.blocks[start..request.end];
            start = request.end;
            Access {
                time_ms: request.time_ms,
                blocks,
                hittable: request.hittable,
                needed: request.needed,
                category: request.category,
                turn: request.turn,
                weight: self.rule.weight(request.input_tokens, blocks.len()),
            }
        })
    }

    /// What a cache that never evicts hits, and the blocks that it ends with.
    #[must_use]
    pub fn infinite(&self) -> (u64, u64) {
        let mut seen = vec![false; self.distinct as usize];
        let (mut hit, mut kept) = (0, 0);
        for access in self.iter() {
            let known = access.blocks.partition_point(|&block| seen[block as usize]);
            hit += self.weight_of_hit(known.min(access.hittable as usize) as u64);
            access.blocks[known..].iter().for_each(|&block| seen[block as usize] = true);
            kept += (access.blocks.len() - known) as u64;
        }
        (hit, kept)
    }
}
