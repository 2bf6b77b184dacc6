"""Why kvkeep refused something. An operation that raises has changed nothing."""


class KvkeepError(Exception):
    """Base of all exceptions of kvkeep; ``str(error)`` says what to do.

    ``index`` is set by ``BlockManager.advance``: which sequence of the batch was refused.
    """

    index: int


class EmptyPromptError(KvkeepError):
    """The prompt has no tokens."""


class TooLongError(KvkeepError):
    """The sequence would have ``tokens`` tokens; an empty pool holds ``max``."""

    tokens: int
    max: int


class MediaBeyondPromptError(KvkeepError):
    """A media item ends at token ``end``, behind the ``prompt_tokens`` of the prompt."""

    end: int
    prompt_tokens: int


class TooManySequencesError(KvkeepError):
    """``max`` sequences are running, the most allowed."""

    max: int


class UnknownSequenceError(KvkeepError):
    """No sequence has the handle ``seq``: it was freed already."""

    seq: int


class StepOpenError(KvkeepError):
    """The step of ``seq`` has to be closed first."""

    seq: int


class NoStepError(KvkeepError):
    """``seq`` has no open step."""

    seq: int


class TwiceInBatchError(KvkeepError):
    """``seq`` is in a batch twice."""

    seq: int


class StartedError(KvkeepError):
    """``seq`` has committed a step, or is a fork: its admission stands."""

    seq: int


class ZeroTokensError(KvkeepError):
    """A step of no tokens."""


class UnknownTokensError(KvkeepError):
    """The call needs ``needed`` tokens to be known; ``known`` are."""

    needed: int
    known: int


class CommitTooLongError(KvkeepError):
    """A commit of ``asked`` tokens into a step with slots for ``reserved``."""

    asked: int
    reserved: int


class OutOfBlocksError(KvkeepError):
    """``needed`` blocks are needed; ``available`` are free or evictable.

    Preempt a sequence and ask again.
    """

    needed: int
    available: int


class NotDuplicateError(KvkeepError):
    """Entry ``position`` of the block table has no published duplicate."""

    position: int


class TooManyHintsError(KvkeepError):
    """The sequence has ``max`` retention hints, the most allowed."""

    max: int


class EmptyRangeError(KvkeepError):
    """The token range ``start``..``end`` of a hint is empty."""

    start: int
    end: int


class PriorityTooHighError(KvkeepError):
    """A retention priority above 100."""

    priority: int


class TimeWentBackError(KvkeepError):
    """Time ``passed_ms`` is before ``now_ms``, where the manager is."""

    passed_ms: int
    now_ms: int


class InvariantError(KvkeepError):
    """``validate`` found a defect of kvkeep."""


class ConfigError(KvkeepError, ValueError):
    """Settings of a manager are out of range; the message lists all of them."""


class IdentityError(KvkeepError, ValueError):
    """An identity has a field that is too long, or too many of a kind."""


class UnknownPolicyError(KvkeepError, ValueError):
    """No eviction policy has this name; see ``kvkeep.POLICIES``."""


class LayoutError(KvkeepError, ValueError):
    """A KV layout contradicts itself; the message lists everything that is wrong."""


class PlanError(KvkeepError, ValueError):
    """The memory of a plan contradicts itself, or does not do."""


class PageError(KvkeepError, ValueError):
    """No such stage, block, layer or part."""


class TraceError(KvkeepError, ValueError):
    """A trace cannot be read; ``line`` is set where a line is malformed, from 1."""

    line: int
