"""Integers from Python: every form is read alike, and none wraps around."""

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kvkeep import BlockManager

PROMPT = [0, 1, 4_000_000_000, 4_294_967_295] * 10


def backwards(prompt: list[int]) -> Any:
    return np.array(prompt[::-1], dtype=np.uint32)[::-1]


def every_second(prompt: list[int]) -> Any:
    return np.repeat(np.array(prompt, dtype=np.uint32), 2)[::2]


def misaligned(prompt: list[int], dtype: Any = np.uint32) -> Any:
    raw = b"x" + np.array(prompt, dtype=dtype).tobytes()
    return np.frombuffer(raw, dtype=np.uint8)[1:].view(dtype)


FORMS: list[Callable[[list[int]], Any]] = [
    list,
    tuple,
    lambda prompt: [np.uint32(token) for token in prompt],
    lambda prompt: np.array(prompt, dtype=np.uint32),
    lambda prompt: np.array(prompt, dtype=np.int64),
    lambda prompt: np.array(prompt, dtype=np.uint64),
    lambda prompt: array.array("I", prompt),
    lambda prompt: array.array("q", prompt),
    lambda prompt: memoryview(array.array("I", prompt)),
    lambda prompt: np.array(prompt, dtype=np.uint32).tobytes(),
    lambda prompt: bytearray(np.array(prompt, dtype=np.uint32).tobytes()),
    backwards,
    every_second,
    misaligned,
    lambda prompt: misaligned(prompt, np.int64),
]


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_prompt_are_the_same_prompt(form: Callable[[list[int]], Any]) -> None:
    kv = BlockManager(64)
    seq = kv.admit(form(PROMPT)).seq
    kv.reserve(seq, 40)
    kv.commit(seq, 40)
    kv.extend(seq, form(PROMPT))
    assert kv.longest_prefix(PROMPT) == 32
    assert kv.longest_prefix(form(PROMPT)) == 32
    assert kv.tokens_known(seq) == 80


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_small_types_are_widened(dtype: type) -> None:
    kv = BlockManager(64)
    prompt = list(range(40))
    seq = kv.admit(np.array(prompt, dtype=dtype)).seq
    kv.reserve(seq, 40)
    kv.commit(seq, 40)
    assert kv.longest_prefix(prompt) == 32


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([0, 1, -1], "item 2 is -1; expected 0 to 4294967295"),
        ((1 << 32,), "item 0 is 4294967296; expected 0 to 4294967295"),
        ([1 << 70], "item 0 is 1180591620717411303424"),
        (np.array([5, -7]), "item 1 is -7"),
        (np.array([5, -7], dtype=np.int8), "item 1 is -7"),
        (np.array([1 << 40], dtype=np.uint64), "item 0 is 1099511627776"),
        (range(-1, 3), "item 0 is -1"),
        (np.zeros((2, 2), dtype=np.uint32), "expected one dimension, found 2"),
        (np.uint32(3), "expected one dimension, found 0"),
        (b"12345", "buffer size must be a multiple of element size"),
    ],
)
def test_values_that_are_no_tokens(prompt: Any, message: str) -> None:
    kv = BlockManager(64)
    with pytest.raises(ValueError, match=message):
        kv.admit(prompt)
    assert kv.usage()["sequences"] == 0


@pytest.mark.parametrize(
    "prompt",
    [
        [1, 2.0],
        [1, "2"],
        [1, None],
        "text",
        None,
        3.5,
        {1: 2},
        np.array([1.0, 2.0]),
        np.array([True]),
        np.array([1, 2], dtype=">u4"),
        np.array(["1"]),
        np.array([1, None]),
    ],
)
def test_types_that_are_no_tokens(prompt: Any) -> None:
    kv = BlockManager(64)
    with pytest.raises((TypeError, ValueError)):
        kv.admit(prompt)
    assert kv.usage()["sequences"] == 0


def test_a_uint32_array_is_not_copied() -> None:
    """Reading in place shows in the time alone; what must hold is that nothing is written."""
    prompt = np.arange(40, dtype=np.uint32)
    prompt.flags.writeable = False
    BlockManager(64).admit(prompt)
    assert prompt.tolist() == list(range(40))


def test_numbers_of_single_calls() -> None:
    kv = BlockManager(64)
    seq = kv.admit([1]).seq
    for call in (
        lambda: kv.append(seq, -1),
        lambda: kv.append(seq, 1 << 32),
        lambda: kv.reserve(-1, 1),
        lambda: kv.reserve(1 << 64, 1),
        lambda: kv.reserve(seq, -1),
        lambda: kv.block_hash(1 << 32),
    ):
        with pytest.raises(OverflowError):
            call()
    with pytest.raises(TypeError):
        kv.append(seq, 1.5)  # type: ignore[arg-type]
    assert kv.block_hash(64) is None
    assert kv.tokens_known(seq) == 1
