//! What `kvkeep sweep --help` says below the flags.

use kvkeep_sim::Policy;

/// For `-h` and `--help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  A published trace, the usual policies and sizes:
    kvkeep sweep conversation_trace.jsonl

  Policies and sizes by name, with pictures:
    kvkeep sweep conversation_trace.jsonl --policy lru,lru-2,s3-fifo \\
        --sizes 300,1k,12.58GiB,10% --html report.html

  All policies, for a spreadsheet:
    kvkeep sweep conversation_trace.jsonl --policy all --format csv > sweep.csv

  Coding-agent sessions of 32 users, sized for another model:
    kvkeep sweep sessions/ --users 32 --model llama-3.3-70b \\
        --tensor-parallel-size 4 --kv-cache-memory-bytes 20GiB

  A trace larger than memory, LRU from a sample:
    zcat trace.jsonl.gz | kvkeep sweep - --estimate-blocks 100000

Exit codes: 0 swept; 1 the budget does not fit, or the answer or a file could
not be written; 2 flags, model or trace make no sense.";

/// For `--block-size`.
pub(crate) const BLOCK_SIZE: &str = "\
Tokens per block: those of the trace, no others; `kvkeep trace convert` makes larger ones";

/// For `--max-model-len`.
pub(crate) const MAX_MODEL_LEN: &str =
    "Longest request that the deployment has to hold, else it does not fit";

/// For `--help`: the definitions as well.
pub(crate) fn long() -> String {
    let mut names = String::new();
    let mut column = 0;
    for policy in Policy::all().filter(|policy| !policy.is_bound()) {
        let name = policy.name();
        if column + name.len() > 70 {
            names.push_str("\n  ");
            column = 0;
        } else if column > 0 {
            names.push(' ');
        }
        names.push_str(name);
        column += name.len() + 1;
    }
    format!(
        "\
Policies:
  {names}
  opt knows the future (no policy hits more); infinite never evicts. Both are
  always there.

Hit rate:
  --rule engine: cached prompt tokens / prompt tokens; only full blocks are
  cached, and the block that holds the last token is always computed again.
  --rule blocks: cached blocks / blocks; a partial last block and the block of
  the last token count and hit like any other.
  Requests run one after another through the block manager, from an empty cache;
  outputs are ignored. A request that needs more blocks than the cache has is
  rejected and counts as missed.

Sizes:
  In blocks of the trace. The working set is what the infinite cache ends with:
  full blocks by --rule engine, partial ones as well by --rule blocks; `kvkeep
  trace info` prints both. Memory is that of all GPUs of one replica; what a block
  takes follows from the model's flags [default: qwen3-32b in fp8 on two GPUs,
  131,072 bytes a token]. The memory flags name the deployment's size
  [default: 12.58 GiB on each GPU].

Sizes needed:
  The cache that reaches 90, 95 and 99 % of the infinite cache's hits. Exact for
  LRU. For other policies bisection, up to 1 % too large; their hits need not
  rise with every block, so a smaller one may do as well.

Capacity or policy:
  capacity_gap = infinite - opt: what only more memory can gain.
  policy_gap = opt - the best swept policy; lru_gap = opt - lru.
  The verdict: capacity if capacity_gap is a point (0.01) or more, policy if
  lru_gap is, both, or neither.

JSON:
  Rates and gaps are from 0 to 1, gib is GiB on all GPUs of one replica.
  hit_tokens (rule engine) or hit_blocks (rule blocks) count what hit. infinite
  has one row, with the blocks of the working set. With --estimate-blocks a row
  has error, one standard error of its hit_rate; it counts by --rule as well, but
  rejects nothing.

{EXAMPLES}"
    )
}
