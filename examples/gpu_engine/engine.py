"""The scheduler loop: admission, chunked prefill, continuous batching, preemption, sampling."""

import time
from collections import deque
from dataclasses import dataclass, field

import torch

from .cache import Cache
from .config import BLOCK_SIZE, Config
from .model import Model
from .ranks import Ranks
from .runner import Runner


@dataclass(eq=False)
class Request:
    prompt: list[int]
    max_new: int
    salt: str | None = None
    tokens: list[int] = field(default_factory=list)  # prompt and what was sampled
    seq: int = -1
    computed: int = 0
    tokens_cached: int = 0
    submitted_s: float = 0.0
    first_token_s: float = 0.0
    logits: torch.Tensor | None = None  # of the first token, where asked for

    @property
    def output(self) -> list[int]:
        return self.tokens[len(self.prompt) :]

    @property
    def ttft_ms(self) -> float:
        return (self.first_token_s - self.submitted_s) * 1e3


class Engine:
    def __init__(
        self, cfg: Config, ranks: Ranks, device: str, *, max_chunk: int = 8192, seed: int = 0,
        **sizes: tuple[int, ...],
    ) -> None:
        self.cfg, self.max_chunk = cfg, max_chunk
        self.model = Model(cfg, ranks, device, seed)
        self.cache = Cache(cfg, device)
        self.runner = Runner(self.model, self.cache, **sizes)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.keep_logits = False
        self.poison = False
        self.preemptions = 0
        self.steps: list[tuple[int, int, float, float]] = []  # tokens, sequences, s, manager s

    def submit(self, request: Request) -> Request:
        if len(request.prompt) + request.max_new > self.cfg.max_model_len:
            raise ValueError(f"a request may have {self.cfg.max_model_len} tokens in all")
        if -(-(len(request.prompt) + request.max_new) // BLOCK_SIZE) > self.cfg.num_blocks:
            raise ValueError(f"the pool has {self.cfg.num_blocks} blocks of {BLOCK_SIZE} tokens")
        if not request.prompt or request.max_new < 1:
            raise ValueError("a request has a prompt and asks for at least one token")
        request.tokens = list(request.prompt)
        request.submitted_s = time.perf_counter()
        self.waiting.append(request)
        return request

    def abort(self, request: Request) -> None:
        if request in self.running:
            self.running.remove(request)
            self.cache.free(request.seq)
        else:
            self.waiting.remove(request)

    def run(self) -> None:
        while self.waiting or self.running:
            self.step()

    def step(self) -> None:
        began, before = time.perf_counter(), self.cache.seconds
        self._admit()
        batch, counts = self._schedule()
        seqs = [r.seq for r in batch]

        def make_room(granted: int) -> bool:
            victim = self.running[-1]
            if len(self.running) == 1:
                raise RuntimeError("one request needs more blocks than the pool has")
            self.running.pop()
            self.preemptions += 1
            self.cache.free(victim.seq, preempted=True)
            self.waiting.appendleft(victim)
            if batch[-1] is not victim:
                return False
            batch.pop()
            return True

        copies = self.cache.open(seqs, counts, make_room)
        if self.poison:
            free = torch.tensor(self.cache.free_blocks(), dtype=torch.long)
            for pages in self.model.pages:
                pages.poison(free.to(self.model.device))
        if copies:
            source, destination = torch.tensor(copies, device=self.model.device).T
            for pages in self.model.pages:
                pages.copy(source, destination)
        logits = self.runner.run(
            [(r.computed, r.tokens[r.computed : r.computed + n]) for r, n in zip(batch, counts)]
        )
        best = logits.argmax(-1).tolist()
        now = time.perf_counter()
        sampled: list[int | None] = []
        for row, (request, n) in enumerate(zip(batch, counts)):
            request.computed += n
            sampled.append(best[row] if request.computed == len(request.tokens) else None)
            if sampled[-1] is None:
                continue
            if not request.output:
                request.first_token_s = now
                if self.keep_logits:
                    request.logits = logits[row].cpu()
            request.tokens.append(best[row])
        self.cache.close(seqs, counts, sampled)
        for request in batch:
            if len(request.output) == request.max_new:
                self.running.remove(request)
                self.cache.free(request.seq)
        end = time.perf_counter()
        self.steps.append((sum(counts), len(batch), end - began, self.cache.seconds - before))

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.cfg.max_seqs:
            request = self.waiting[0]
            again = request.seq >= 0
            hit = self.cache.admit(request.tokens, request.salt, again)
            usage = self.cache.kv.usage()
            left = len(request.tokens) - hit.tokens_cached
            # What those before it have still to compute takes room as well.
            promised = sum(len(r.tokens) - r.computed for r in self.running)
            if self.running and left + promised > BLOCK_SIZE * (usage["free"] + usage["cached"]):
                self.cache.kv.withdraw(hit.seq)
                break
            self.waiting.popleft()
            request.seq, request.computed = hit.seq, hit.tokens_cached
            if not again:
                request.tokens_cached = hit.tokens_cached
            self.running.append(request)

    def _schedule(self) -> tuple[list[Request], list[int]]:
        """All that decode, then as much prefill as the chunk has room for, oldest first."""
        left = {id(r): len(r.tokens) - r.computed for r in self.running}
        budget = self.max_chunk - sum(n == 1 for n in left.values())
        batch, counts = [], []
        for request in self.running:
            n = left[id(request)]
            if n > 1:
                n = min(n, max(0, budget))
                budget -= n
            if n:
                batch.append(request)
                counts.append(n)
        return batch, counts
