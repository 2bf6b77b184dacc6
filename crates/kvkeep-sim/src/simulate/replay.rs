//! Replays a workload through the library's block manager, one request after another.
//!
//! The only file that talks to the manager. Each request is admitted, computed in one step
//! and freed before the next is looked up; how the prompt is split into chunks cannot change
//! what is cached afterwards, so it is not split.

use super::OnRequest;
use super::{
    infinite::InfiniteCache,
    workload::{Request, Workload, WorkloadError},
};
use kvkeep::evict::{EvictionPolicy, Kind};
use kvkeep::hash::Xxh3;
use kvkeep::{BlockManager, Config, ConfigError, Identity, MissCounts, SeqId};
use std::{
    fmt,
    ops::Range,
    time::{Duration, Instant},
};

/// What to replay on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) num_blocks: u32,
    /// Tokens.
    pub(super) block_size: u32,
    pub(super) policy: Kind,
    /// Decode the outputs as well.
    pub(super) decode_outputs: bool,
    /// Stop after so many requests.
    pub(super) requests_limit: Option<u64>,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Outcome {
    /// All requests, rejected ones included.
    pub(super) requests: u64,
    /// Requests whose prompt is larger than the pool.
    pub(super) rejected: u64,
    /// Of all requests.
    pub(super) prompt_tokens: u64,
    /// Of these, those of rejected requests.
    pub(super) rejected_prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    /// What a cache that never evicts would have found of the same prompts.
    pub(super) infinite_cached_tokens: u64,
    pub(super) evicted_blocks: u64,
    /// Why the hits of admitted requests ended where they did.
    pub(super) misses: MissCounts,
    /// Output tokens whose KV was computed; 0 unless outputs are decoded.
    pub(super) decoded_tokens: u64,
    /// Requests whose output was cut off because prompt and output outgrew the pool.
    pub(super) outputs_cut_short: u64,
    /// From the first request to the last, by the workload's own clock.
    pub(super) span_ms: u64,
    /// Spent in the manager.
    pub(super) manager_time: Duration,
}

/// A replay under way.
struct Replay {
    manager: BlockManager<Xxh3, Box<dyn EvictionPolicy + Send>>,
    now_ms: u64,
    infinite: InfiniteCache,
    decode_outputs: bool,
    requests: u64,
    rejected: u64,
    rejected_prompt_tokens: u64,
    infinite_cached_tokens: u64,
    decoded_tokens: u64,
    outputs_cut_short: u64,
    manager_time: Duration,
}

/// Replays `workload` from an empty pool.
pub(super) fn replay(
    workload: &mut dyn Workload,
    setup: Setup,
    progress: OnRequest<'_>,
) -> Result<Outcome, SimulateError> {
    let block_size = setup.block_size as usize;
    let config = Config::new(setup.num_blocks).block_size(block_size);
    let mut replay = Replay {
        manager: BlockManager::with_policy(config, setup.policy.build(setup.block_size as usize))?,
        now_ms: 0,
        infinite: InfiniteCache::new(block_size),
        decode_outputs: setup.decode_outputs,
        requests: 0,
        rejected: 0,
        rejected_prompt_tokens: 0,
        infinite_cached_tokens: 0,
        decoded_tokens: 0,
        outputs_cut_short: 0,
        manager_time: Duration::ZERO,
    };
    let requests_limit = setup.requests_limit.unwrap_or(u64::MAX);
    let mut request = Request::default();
    let (mut first_ms, mut last_ms) = (u64::MAX, 0);
    while replay.requests < requests_limit && workload.read_next(&mut request)? {
        first_ms = first_ms.min(request.timestamp_ms);
        last_ms = last_ms.max(request.timestamp_ms);
        replay.run_request(&mut request)?;
        let fraction_read = match setup.requests_limit {
            Some(limit) => Some(replay.requests as f64 / limit as f64),
            None => workload.fraction_read(),
        };
        if progress(replay.requests, fraction_read).is_break() {
            return Err(SimulateError::Stopped);
        }
    }
    Ok(replay.finish(last_ms.saturating_sub(first_ms)))
}

impl Replay {
    /// Runs one request from admission to release. Its prompt grows by the decoded output.
    fn run_request(&mut self, request: &mut Request) -> Result<(), SimulateError> {
        self.requests += 1;
        let prompt_tokens = request.prompt.len();
        self.now_ms = self.now_ms.max(request.timestamp_ms);
        let start = Instant::now();
        self.manager.advance_time(self.now_ms)?;
        let computed = self.compute(request);
        self.manager_time += start.elapsed();
        match computed? {
            Some(output) => {
                self.decoded_tokens += output.len() as u64;
                request.prompt.extend(output);
            }
            None => {
                self.rejected += 1;
                self.rejected_prompt_tokens += prompt_tokens as u64;
            }
        }
        self.infinite_cached_tokens += self.infinite.replay(&request.prompt, prompt_tokens);
        Ok(())
    }

    /// Computes a request in the manager. Returns the output tokens that were decoded, or
    /// nothing when the prompt is larger than the pool.
    fn compute(&mut self, request: &Request) -> Result<Option<Range<u32>>, kvkeep::Error> {
        let admission = match self.manager.admit(&request.prompt, &Identity::default()) {
            Ok(admission) => admission,
            Err(kvkeep::Error::TooLong { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let seq = admission.seq;
        let rest = request.prompt.len() - admission.tokens_cached;
        // A step's copies are for forked sequences; there are none here.
        let _step = self.manager.reserve(seq, rest)?;
        self.manager.commit(seq, rest)?;
        let mut decoded = request.output.start..request.output.start;
        if self.decode_outputs {
            // An engine stops at the last token: nothing follows it, so nobody needs its KV.
            let end = request.output.end.saturating_sub(1);
            while decoded.end < end {
                if !self.decode(seq, decoded.end)? {
                    self.outputs_cut_short += 1;
                    break;
                }
                decoded.end += 1;
            }
        }
        self.manager.free(seq)?;
        Ok(Some(decoded))
    }

    /// Appends and computes one output token; `false` when the pool has no room for it. The
    /// sequence is the only one, so there is nothing to wait for.
    fn decode(&mut self, seq: SeqId, token: u32) -> Result<bool, kvkeep::Error> {
        let appended = self.manager.append(seq, token);
        let reserved = appended.and_then(|()| self.manager.reserve(seq, 1));
        match reserved {
            Ok(_step) => self.manager.commit(seq, 1).map(|_| true),
            Err(kvkeep::Error::TooLong { .. } | kvkeep::Error::OutOfBlocks { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn finish(self, span_ms: u64) -> Outcome {
        let stats = self.manager.stats();
        Outcome {
            requests: self.requests,
            rejected: self.rejected,
            prompt_tokens: stats.prompt_tokens + self.rejected_prompt_tokens,
            rejected_prompt_tokens: self.rejected_prompt_tokens,
            cached_tokens: stats.cached_tokens,
            infinite_cached_tokens: self.infinite_cached_tokens,
            evicted_blocks: stats.evicted_blocks,
            misses: stats.misses,
            decoded_tokens: self.decoded_tokens,
            outputs_cut_short: self.outputs_cut_short,
            span_ms,
            manager_time: self.manager_time,
        }
    }
}

/// Why there is no report.
#[derive(Debug)]
#[non_exhaustive]
pub enum SimulateError {
    /// The workload gave no further request.
    Workload(WorkloadError),
    /// The manager refused the pool.
    Config(ConfigError),
    /// The manager refused an operation: a defect, there or here.
    Manager(kvkeep::Error),
    /// Whoever was told how far it is wanted it to stop.
    Stopped,
}

impl fmt::Display for SimulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Manager(error) => write!(f, "the block manager refused a request: {error}"),
            Self::Stopped => f.write_str("the simulation was stopped"),
        }
    }
}

impl std::error::Error for SimulateError {}

impl From<WorkloadError> for SimulateError {
    fn from(error: WorkloadError) -> Self {
        Self::Workload(error)
    }
}

impl From<ConfigError> for SimulateError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<kvkeep::Error> for SimulateError {
    fn from(error: kvkeep::Error) -> Self {
        Self::Manager(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::ControlFlow;

    /// A workload that is a list after all.
    struct List(std::vec::IntoIter<Request>);

    impl Workload for List {
        fn read_next(&mut self, request: &mut Request) -> Result<bool, WorkloadError> {
            let next = self.0.next();
            let is_some = next.is_some();
            *request = next.unwrap_or_default();
            Ok(is_some)
        }

        fn fraction_read(&self) -> Option<f64> {
            None
        }
    }

    fn go_on(_: u64, _: Option<f64>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn run(requests: Vec<Request>, num_blocks: u32, decode_outputs: bool) -> Outcome {
        let setup = Setup {
            num_blocks,
            block_size: 2,
            policy: Kind::Lru,
            decode_outputs,
            requests_limit: None,
        };
        replay(&mut List(requests.into_iter()), setup, &mut go_on).unwrap()
    }

    fn request(prompt: Vec<u32>, output: Range<u32>) -> Request {
        Request { timestamp_ms: 0, prompt, output }
    }

    #[test]
    fn the_output_of_a_turn_is_hit_by_the_next() {
        let turns = || {
            vec![request(vec![1, 2, 3], 10..14), request(vec![1, 2, 3, 10, 11, 12, 13, 4], 20..21)]
        };
        // Blocks 12, 3 10, 11 12; of the output's four tokens the last is not computed.
        let outcome = run(turns(), 100, true);
        assert_eq!((outcome.cached_tokens, outcome.infinite_cached_tokens), (6, 6));
        assert_eq!(outcome.decoded_tokens, 3);
        let outcome = run(turns(), 100, false);
        assert_eq!((outcome.cached_tokens, outcome.infinite_cached_tokens), (2, 2));
        assert_eq!(outcome.decoded_tokens, 0);
    }

    #[test]
    fn a_prompt_that_fills_the_pool_is_admitted_and_a_longer_one_is_not() {
        let outcome = run(vec![request(vec![1; 7], 0..0), request(vec![2; 6], 0..9)], 3, true);
        assert_eq!((outcome.requests, outcome.rejected), (2, 1));
        assert_eq!((outcome.prompt_tokens, outcome.rejected_prompt_tokens), (13, 7));
        assert_eq!(outcome.decoded_tokens, 0);
        assert_eq!(outcome.outputs_cut_short, 1);
    }

    #[test]
    fn an_absurd_output_costs_no_more_than_the_pool() {
        let outcome = run(vec![request(vec![1; 3], 0..u32::MAX)], 3, true);
        assert_eq!((outcome.decoded_tokens, outcome.outputs_cut_short), (3, 1));
    }

    #[test]
    fn the_limit_leaves_the_rest_unread() {
        let mut list = List(vec![Request::default(), request(vec![1], 0..0)].into_iter());
        assert!(list.read_next(&mut Request::default()).unwrap());
        let setup = Setup {
            num_blocks: 3,
            block_size: 2,
            policy: Kind::Lru,
            decode_outputs: false,
            requests_limit: Some(0),
        };
        let outcome = replay(&mut list, setup, &mut go_on).unwrap();
        assert_eq!((outcome.requests, list.0.len()), (0, 1));
    }

    #[test]
    fn whoever_watches_can_stop_it() {
        let requests: Vec<_> = (0..5).map(|_| request(vec![1], 0..0)).collect();
        let mut list = List(requests.into_iter());
        let setup = Setup {
            num_blocks: 3,
            block_size: 2,
            policy: Kind::Lru,
            decode_outputs: false,
            requests_limit: None,
        };
        let mut stop = |requests, _| match requests {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        assert!(matches!(replay(&mut list, setup, &mut stop), Err(SimulateError::Stopped)));
        assert_eq!(list.0.len(), 3);
    }

    /// Prompts over two tokens, so that prefixes repeat; outputs as long as their number.
    fn workloads() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(0_u32..2, 1..14), 1..40)
    }

    fn with_outputs(prompts: &[Vec<u32>]) -> Vec<Request> {
        let outputs = (0_u32..).map(|n| (100 + n * 8)..(100 + n * 8 + n % 8));
        prompts
            .iter()
            .cloned()
            .zip(outputs)
            .map(|(prompt, output)| request(prompt, output))
            .collect()
    }

    proptest! {
        #[test]
        fn the_infinite_cache_bounds_every_pool_and_a_roomy_pool_reaches_it(
            prompts in workloads(),
            num_blocks in 1_u32..30,
            decode_outputs: bool,
        ) {
            let tight = run(with_outputs(&prompts), num_blocks, decode_outputs);
            prop_assert!(tight.cached_tokens <= tight.infinite_cached_tokens);
            let missed: u64 = tight.misses.iter().map(|(_, count)| count.tokens).sum();
            let computed = tight.prompt_tokens - tight.cached_tokens - tight.rejected_prompt_tokens;
            prop_assert_eq!(missed, computed);
            let admitted: u64 = tight.misses.iter().map(|(_, count)| count.requests).sum();
            prop_assert_eq!(admitted, tight.requests - tight.rejected);

            let roomy = run(with_outputs(&prompts), 2_000, decode_outputs);
            prop_assert_eq!(roomy.prompt_tokens, tight.prompt_tokens);
            prop_assert_eq!(roomy.evicted_blocks, 0);
            prop_assert_eq!(roomy.cached_tokens, roomy.infinite_cached_tokens);
        }
    }
}
