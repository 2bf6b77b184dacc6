//! Operations that the random tests draw, and how they are drawn.
//!
//! Prompts are prefixes of three fixed streams over the tokens 0 and 1, with one token
//! flipped now and then, so that prefixes meet often.

use super::release::Keep;
use super::who::KINDS;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A call, or two or three that belong together. `seq` counts among the running
/// sequences, modulo their number; for what closes steps among those in a step first, and
/// for `Adopt` a small `position` among the duplicates.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Admit {
        prompt: Prompt,
        who: u8,
    },
    Readmit {
        prompt: Prompt,
        who: u8,
    },
    /// Admit a prompt that was admitted before, so many admissions ago.
    Again {
        back: usize,
    },
    /// Admit, compute and free.
    Serve {
        prompt: Prompt,
        who: u8,
    },
    /// Admit what a running sequence knows: both will compute the same blocks.
    Twin {
        seq: usize,
    },
    /// Append, reserve and commit one token.
    Decode {
        seq: usize,
        token: u32,
    },
    /// Reserve and commit everything that is known.
    Compute {
        seq: usize,
    },
    Reserve {
        seq: usize,
        tokens: usize,
        lookahead: usize,
    },
    Commit {
        seq: usize,
        tokens: usize,
    },
    Revert {
        seq: usize,
    },
    Append {
        seq: usize,
        token: u32,
    },
    Extend {
        seq: usize,
        tokens: Vec<u32>,
    },
    Fork {
        seq: usize,
    },
    Adopt {
        seq: usize,
        position: usize,
    },
    Free {
        seq: usize,
    },
    Preempt {
        seq: usize,
    },
    Retain {
        seq: usize,
        start: usize,
        tokens: usize,
        keep: Keep,
    },
    /// Fork, append to the fork, and reserve: copies a partial block.
    Branch {
        seq: usize,
        token: u32,
    },
    /// To this many ms after (or before) the time that the manager is at.
    Advance {
        ms: i64,
    },
    Invalidate,
    /// Every call with a handle that was freed.
    Stale {
        handle: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) stream: u8,
    pub(crate) tokens: usize,
    pub(crate) flip: Option<usize>,
}

impl Prompt {
    /// Each token drawn stands for `scale` equal ones.
    pub(crate) fn to_tokens(&self, scale: usize) -> Vec<u32> {
        let token = |at: usize| match self.stream {
            0 => 0,
            1 => (at / 2 % 2) as u32,
            _ => u32::from(at >= 3),
        };
        let flip = |at| u32::from(self.flip == Some(at));
        repeat((0..self.tokens).map(|at| token(at) ^ flip(at)), scale)
    }
}

/// Each of `tokens`, `times` times.
pub(crate) fn repeat(tokens: impl Iterator<Item = u32>, times: usize) -> Vec<u32> {
    tokens.flat_map(|token| std::iter::repeat_n(token, times)).collect()
}

/// How a manager is built.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) num_blocks: u32,
    pub(crate) block_size: usize,
    pub(crate) hash_only: bool,
    pub(crate) max_retained: Option<u32>,
    pub(crate) max_sequences: usize,
}

impl Setup {
    /// Tokens that stand for one token drawn: numbers are drawn for blocks of 1 to 4.
    pub(crate) fn scale(&self) -> usize {
        self.block_size.div_ceil(4)
    }
}

pub(crate) fn setups() -> impl Strategy<Value = Setup> {
    // 16 has a path of its own; 18 has a rest after the first 16 tokens.
    let block_size = prop_oneof![8 => 1..=4usize, 2 => Just(16), 1 => Just(18)];
    (3..=12u32, block_size, any::<bool>(), prop::option::of(0..=6u32), 3..=8usize).prop_map(
        |(num_blocks, block_size, hash_only, max_retained, max_sequences)| Setup {
            num_blocks,
            block_size,
            hash_only,
            max_retained: max_retained.map(|blocks| blocks.min(num_blocks)),
            max_sequences,
        },
    )
}

fn prompts() -> impl Strategy<Value = Prompt> {
    let flip = prop_oneof![2 => Just(None), 1 => (0..20usize).prop_map(Some)];
    (0..3u8, prop_oneof![20 => 1..=24usize, 1 => 0..=49usize], flip)
        .prop_map(|(stream, tokens, flip)| Prompt { stream, tokens, flip })
}

fn who() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 2 => 0..KINDS]
}

fn keeps() -> impl Strategy<Value = Keep> {
    let ttl = prop::option::of(0..=8u64);
    prop_oneof![
        1 => Just(Keep::NotReused),
        3 => (prop_oneof![Just(0u8), Just(20), Just(35), Just(36), Just(80), Just(100)], ttl)
            .prop_map(|(priority, ttl)| Keep::Priority(priority, ttl)),
    ]
}

/// The number of tokens of a call: mostly right, sometimes 0 or absurd.
fn counts() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 1..=9usize, 1 => Just(0), 1 => Just(usize::MAX)]
}

fn one() -> impl Strategy<Value = Op> {
    let seq = || 0..6usize;
    let lookahead = prop_oneof![6 => Just(0), 4 => 1..=5usize, 1 => Just(1 << 40)];
    let (back, head) = (0..8usize, prop_oneof![3 => Just(0), 1 => 0..5usize]);
    prop_oneof![
        6 => (prompts(), who()).prop_map(|(prompt, who)| Op::Admit { prompt, who }),
        1 => (prompts(), who()).prop_map(|(prompt, who)| Op::Readmit { prompt, who }),
        5 => back.prop_map(|back| Op::Again { back }),
        5 => (prompts(), who()).prop_map(|(prompt, who)| Op::Serve { prompt, who }),
        4 => seq().prop_map(|seq| Op::Twin { seq }),
        5 => (seq(), 0..2u32).prop_map(|(seq, token)| Op::Decode { seq, token }),
        9 => seq().prop_map(|seq| Op::Compute { seq }),
        4 => (seq(), counts(), lookahead)
            .prop_map(|(seq, tokens, lookahead)| Op::Reserve { seq, tokens, lookahead }),
        4 => (seq(), counts()).prop_map(|(seq, tokens)| Op::Commit { seq, tokens }),
        2 => seq().prop_map(|seq| Op::Revert { seq }),
        3 => (seq(), 0..2u32).prop_map(|(seq, token)| Op::Append { seq, token }),
        2 => (seq(), prop::collection::vec(0..2u32, 0..6))
            .prop_map(|(seq, tokens)| Op::Extend { seq, tokens }),
        5 => (seq(), 0..2u32).prop_map(|(seq, token)| Op::Branch { seq, token }),
        3 => seq().prop_map(|seq| Op::Fork { seq }),
        2 => (seq(), head).prop_map(|(seq, position)| Op::Adopt { seq, position }),
        14 => seq().prop_map(|seq| Op::Free { seq }),
        1 => seq().prop_map(|seq| Op::Preempt { seq }),
        6 => (seq(), 0..12usize, 0..12usize, keeps())
            .prop_map(|(seq, start, tokens, keep)| Op::Retain { seq, start, tokens, keep }),
        2 => (-1..=6i64).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Invalidate),
        1 => (0..9usize).prop_map(|handle| Op::Stale { handle }),
    ]
}

pub(crate) fn sequences(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(one(), 1..=longest)
}

/// Cases to run: `default`, or as many as the environment variable KVKEEP_CASES asks for.
/// The seed is new each time, and printed with a failure.
pub(crate) fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("KVKEEP_CASES").ok().and_then(|text| text.parse().ok());
    let mut config = ProptestConfig { cases: asked.unwrap_or(default), ..Default::default() };
    if let RngSeed::Random = config.rng_seed {
        config.rng_seed = RngSeed::Fixed(rand_seed());
    }
    eprintln!("to repeat this run: PROPTEST_RNG_SEED={}", config.rng_seed);
    config.failure_persistence = None;
    config
}

/// Differs from run to run.
fn rand_seed() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}
