//! Why an operation on sequences was refused. On any error nothing has changed.

use crate::SeqId;
use std::fmt;

/// Why an operation was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The prompt has no tokens.
    EmptyPrompt,
    /// The sequence could not be held even by an empty pool.
    TooLong {
        /// Tokens that it would have.
        tokens: usize,
        /// Tokens that the pool holds.
        max: usize,
    },
    /// A media item of the identity ends behind the prompt.
    MediaBeyondPrompt {
        /// Where it ends, in tokens.
        end: usize,
        /// Tokens of the prompt.
        prompt_tokens: usize,
    },
    /// As many sequences as allowed are running.
    TooManySequences {
        /// The bound.
        max: usize,
    },
    /// No sequence has this handle: it was freed already. (Handles of different managers
    /// are not told apart.)
    UnknownSequence(SeqId),
    /// The call needs the step of this sequence to be closed first.
    StepOpen(SeqId),
    /// There is no open step to commit or revert.
    NoStep(SeqId),
    /// The sequence is in a batch twice.
    TwiceInBatch(SeqId),
    /// The sequence has committed a step, or is a fork, so its admission stands.
    Started(SeqId),
    /// A step of no tokens.
    ZeroTokens,
    /// The step would go beyond the tokens that are known.
    UnknownTokens {
        /// Tokens that the call needs to be known.
        needed: usize,
        /// Tokens that are known: prompt and appended ones.
        known: usize,
    },
    /// More tokens committed than the step has slots for.
    CommitTooLong {
        /// Tokens that the call wanted to commit.
        asked: usize,
        /// Tokens reserved, lookahead included.
        reserved: usize,
    },
    /// Not enough blocks are free or evictable.
    OutOfBlocks {
        /// Blocks that the step needs.
        needed: usize,
        /// Blocks that are free or evictable.
        available: usize,
    },
    /// This entry of the block table has no published duplicate.
    NotDuplicate {
        /// The entry asked for.
        position: usize,
    },
    /// The sequence has as many retention hints as allowed.
    TooManyHints {
        /// The bound.
        max: usize,
    },
    /// The token range of a hint is empty or reversed.
    EmptyRange {
        /// Start of the range.
        start: usize,
        /// End of the range.
        end: usize,
    },
    /// A retention priority above 100.
    PriorityTooHigh(u8),
    /// The clock of the caller went backwards.
    TimeWentBack {
        /// The time passed, in ms.
        passed_ms: u64,
        /// The time that the manager is at, in ms.
        now_ms: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::EmptyPrompt => f.write_str("the prompt is empty; pass at least one token"),
            Error::TooLong { tokens, max } => write!(
                f,
                "a sequence of {tokens} tokens does not fit a pool of {max}; shorten it or raise num_blocks"
            ),
            Error::MediaBeyondPrompt { end, prompt_tokens } => write!(
                f,
                "a media item ends at token {end}, the prompt at {prompt_tokens}; pass the range of its placeholder tokens"
            ),
            Error::TooManySequences { max } => write!(
                f,
                "{max} sequences are running, the most allowed; free some or raise max_sequences"
            ),
            Error::UnknownSequence(seq) => {
                write!(f, "no sequence {seq}; it was freed already")
            }
            Error::StepOpen(seq) => {
                write!(f, "sequence {seq} has an open step; commit or revert it first")
            }
            Error::NoStep(seq) => write!(f, "sequence {seq} has no open step; reserve first"),
            Error::TwiceInBatch(seq) => {
                write!(f, "sequence {seq} is in the batch twice; advance it once")
            }
            Error::Started(seq) => write!(
                f,
                "sequence {seq} has committed a step or is a fork; free or preempt it instead"
            ),
            Error::ZeroTokens => {
                f.write_str("a step of 0 tokens; pass at least 1, or revert to give a step up")
            }
            Error::UnknownTokens { needed, known } => write!(
                f,
                "needs {needed} tokens but only {known} are known; append the missing ones or ask for fewer"
            ),
            Error::CommitTooLong { asked, reserved } => write!(
                f,
                "commit of {asked} tokens into a step of {reserved}; reserve more, or with lookahead"
            ),
            Error::OutOfBlocks { needed, available } => write!(
                f,
                "need {needed} blocks but only {available} are free or evictable; preempt a sequence or raise num_blocks"
            ),
            Error::NotDuplicate { position } => write!(
                f,
                "block {position} of the table has no published duplicate; see `duplicates`"
            ),
            Error::TooManyHints { max } => {
                write!(f, "a sequence takes at most {max} retention hints; merge ranges")
            }
            Error::EmptyRange { start, end } => {
                write!(f, "token range {start}..{end} is empty; pass start < end")
            }
            Error::PriorityTooHigh(priority) => {
                write!(f, "retention priority is {priority}; pass 0 to 100")
            }
            Error::TimeWentBack { passed_ms, now_ms } => write!(
                f,
                "time {passed_ms} ms is before {now_ms} ms, where the manager is; use a monotonic clock"
            ),
        }
    }
}

impl std::error::Error for Error {}
