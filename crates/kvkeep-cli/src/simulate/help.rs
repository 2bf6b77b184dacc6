//! What `kvkeep simulate --help` says below the flags.

use kvkeep_sim::simulate::conversations as built_in;
use std::ops::RangeInclusive;

/// For `-h` and `--help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  The built-in workload on two GPUs with 12.58 GiB for Qwen3-32B in fp8:
    kvkeep simulate

  The same in bf16, which has half the blocks:
    kvkeep simulate --model qwen3-32b --tensor-parallel-size 2 \\
        --kv-cache-dtype bfloat16 --kv-cache-memory-bytes 12.58GiB

  A published trace, at the block size of its ids:
    kvkeep simulate conversation_trace.jsonl --blocks 10000 --block-size 512

  From a pipe, for a program to read:
    kvkeep trace sample --fraction 0.1 trace.jsonl.gz |
        kvkeep simulate - --format json

Exit codes: 0 replayed; 1 the budget does not fit, or the report could not be
written; 2 flags, model or trace make no sense.";

/// For `--help`: the definitions as well. The built-in workload's parameters come from the
/// constants that make it.
pub(crate) fn long() -> String {
    format!(
        "\
Hit rate:
  Prompt tokens found in the cache / prompt tokens of all requests. A hit is the
  longest run of full blocks from the start of the prompt; the last prompt token
  is always computed. A request whose prompt is larger than the pool is rejected:
  all of its prompt counts as missed, as in `kvkeep sweep`, so that rates of
  pools of all sizes are shares of the same tokens. The infinite hit rate is that
  of a cache that follows the same rule, rejects nothing and never evicts.

The replay:
  Requests run one after another, in the order of the trace, from an empty pool.
  The times between them do not matter. With --outputs each output is decoded
  after its prompt until the pool is full; its last token is never computed, as
  in an engine.

The built-in workload:
  Arrivals every {arrival} s. {independent} % of them are single messages of
  {single} tokens, the others conversations of {turns} turns. A conversation
  starts with one of {systems} system prompts of {system} tokens, some more
  popular than others. Each turn adds {user} tokens; its prompt is the whole
  history, with the outputs of {output} tokens; the next turn comes
  {pause} s later. With --outputs the next turn can hit the output.
  A seed names the same requests on every machine.

Traces:
  All formats of `kvkeep trace --help`. A trace names blocks, not tokens: equal
  blocks become equal made-up tokens, different blocks different ones. The
  content of outputs is unknown: no prompt ever hits them.

JSON:
  prompt_tokens are those of all requests, rejected_prompt_tokens those of the
  rejected ones: prompt_tokens = cached_tokens + missed_tokens of all reasons +
  rejected_prompt_tokens. hit_rate = cached_tokens / prompt_tokens. miss_reasons
  counts requests, missed_tokens their prompt tokens after the hit.
  Times are in seconds; requests_per_second is requests / replay_seconds, the
  time spent in the block manager.

{EXAMPLES}",
        arrival = seconds(&built_in::ARRIVAL_MS),
        independent = built_in::INDEPENDENT_PERCENT,
        single = range(&built_in::INDEPENDENT_TOKENS),
        turns = range(&built_in::TURNS),
        systems = built_in::SYSTEM_PROMPTS,
        system = range(&built_in::SYSTEM_TOKENS),
        user = range(&built_in::USER_TOKENS),
        output = range(&built_in::OUTPUT_TOKENS),
        pause = seconds(&built_in::PAUSE_MS),
    )
}

/// For `--requests`.
pub(crate) fn requests() -> String {
    let built_in = built_in::DEFAULT_REQUESTS;
    format!("Stop after N requests [default: all of a trace, {built_in} of the built-in workload]")
}

fn range(range: &RangeInclusive<u32>) -> String {
    format!("{} to {}", range.start(), range.end())
}

fn seconds(range_ms: &RangeInclusive<u32>) -> String {
    range(&(range_ms.start() / 1_000..=range_ms.end() / 1_000))
}
