//! What `kvkeep trace --help` says below the verbs.

const INFO: &str = "
  What is in a trace:
    kvkeep trace info conversation_trace.jsonl

  The same from a pipe, for a program:
    zcat trace.jsonl.gz | kvkeep trace info - --format json
";

const CONVERT: &str = "
  64 users of coding agents, as one trace:
    kvkeep trace convert sessions/ --users 64 -o agents.jsonl.zst

  A trace in larger blocks:
    kvkeep trace convert trace.jsonl --block-size 512 -o coarse.jsonl
";

const SAMPLE: &str = "
  A tenth of the conversations, replayed:
    kvkeep trace sample trace.jsonl.gz --fraction 0.1 | kvkeep simulate -
";

const GENERATE: &str = "
  A made-up trace of long conversations:
    kvkeep trace generate --requests 100k --turns 8 -o made-up.jsonl.gz
";

const EXIT_CODES: &str = "
Exit codes: 0 done; 1 the output could not be written; 2 flags or trace make no
sense.";

/// For `-h` of all verbs.
pub(super) fn examples() -> String {
    format!("Examples:{INFO}{CONVERT}{SAMPLE}{GENERATE}{EXIT_CODES}")
}

/// For `--help` of one verb.
fn of_verb(examples: &str) -> String {
    format!("Examples:{examples}{EXIT_CODES}\n\nFormats and definitions: kvkeep trace --help")
}

/// For `kvkeep trace info --help`.
pub(super) fn info() -> String {
    of_verb(INFO)
}

/// For `kvkeep trace convert --help`.
pub(super) fn convert() -> String {
    of_verb(CONVERT)
}

/// For `kvkeep trace sample --help`.
pub(super) fn sample() -> String {
    of_verb(SAMPLE)
}

/// For `kvkeep trace generate --help`.
pub(super) fn generate() -> String {
    of_verb(GENERATE)
}

/// The formats, and what the verbs do exactly.
const DEFINITIONS: &str = "\
Formats, told by the beginning of the text (--trace-format overrides). All may
be compressed with gzip or Zstandard. Prompts are known by ids of their blocks:
equal ids are equal prompts up to there. Times must not go back, but in dynamo
and lmcache logs, which are put in order among the next 4,096 requests.

  mooncake  JSON Lines: timestamp (ms), input_length, output_length, hash_ids,
            one for each 512 tokens, the last one perhaps partial. What kvkeep
            writes adds block_size (where it is not 512), session, turn (from
            0) and category, each where known.
  bailian   JSON Lines: chat_id, parent_chat_id, timestamp (s), input_length,
            output_length, type, turn (from 1), hash_ids of 16 tokens.
  agentic   A folder or files of coding-agent sessions, one JSON object each:
            block_size, requests (t, in, out, hash_ids, api_time; subagents
            nested). --users play them side by side, user u the sessions u,
            u + N, ..., one after another; the first start in the first minute.
            Users beyond the sessions play them again, with ids of their own.
  dynamo    dynamo.request.trace.v1: request_end events with replay hashes.
  lmcache   JSON Lines: timestamp (s), chunk_hashes of full chunks, chunk_size
            and seq_len where logged.
  tokens    JSON Lines: tokens or prompt_token_ids; timestamp (ms),
            output_tokens, session, turn, category are optional.
  chat      JSON Lines: messages with role and content, timestamp (ms)
            optional. Needs --tokenizer, and a build with --features tokenizers.
  azure     CSV: TIMESTAMP,ContextTokens,GeneratedTokens. Lengths only: nothing
            hits.

convert:
  Writes the mooncake format. A larger block size has to be a multiple of the
  trace's; a smaller one is not possible, since nobody knows what is inside.

sample:
  Keeps whole conversations, by session where the trace says. Elsewhere a
  request goes on with an earlier one if it has all full blocks of its prompt.
  Times stay as they are.

generate:
  A seed names the same trace on every machine; lengths and times do not depend
  on the block size.";

/// For `--help`.
pub(super) fn long() -> String {
    format!("{DEFINITIONS}\n\n{}", examples())
}
