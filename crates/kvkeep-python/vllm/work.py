"""What the cost bench replays: requests as token ids, a chat and a recorded conversation trace.

Every replay of a workload has the same tokens, so that the managers can be compared by what
they find cached.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRACE_BLOCK_TOKENS = 512


@dataclass
class Turn:
    """One request: its prompt and the tokens that it will generate."""

    name: str
    prompt: list[int]
    output: list[int]


def chat(sessions: int, turns: int, tokens_in: int, tokens_out: int) -> Iterator[list[Turn]]:
    """Conversations side by side: each round is one turn of all of them. A prompt is all
    that was said before, and a new question."""
    rng = random.Random(1)
    said: list[list[int]] = [[] for _ in range(sessions)]
    for turn in range(turns):
        rounds = []
        for session, history in enumerate(said):
            history += rng.choices(range(150_000), k=tokens_in)
            output = rng.choices(range(150_000), k=tokens_out)
            rounds.append(Turn(f"{session}-{turn}", history.copy(), output))
            history += output
        yield rounds


def conversations(path: Path, requests: int, batch: int) -> Iterator[list[Turn]]:
    """The first requests of a Mooncake trace, `batch` at a time. Its ids of 512-token blocks
    become tokens, equal for equal ids."""
    rng = random.Random(2)
    together: list[Turn] = []
    with path.open() as lines:
        for number, line in zip(range(requests), lines):
            row = json.loads(line)
            prompt: list[int] = []
            for block in row["hash_ids"]:
                start = block * TRACE_BLOCK_TOKENS
                prompt += [(start + at) * 2654435761 % 150_000 for at in range(TRACE_BLOCK_TOKENS)]
            prompt = prompt[: row["input_length"]]
            output = rng.choices(range(150_000), k=row["output_length"])
            together.append(Turn(str(number), prompt, output))
            if len(together) == batch:
                yield together
                together = []
    if together:
        yield together
