"""Measures the engine at Qwen3-32B's size and writes raw results as JSON, part by part.

    cd examples && python -m gpu_engine.measure --out results.json [--parts ...] [--layers N]

One process has both ranks on one GPU; with two GPUs, `torchrun --nproc-per-node 2 -m
gpu_engine.measure ...` gives each rank a process and a GPU of its own.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from .config import BLOCK_SIZE, Config, qwen3_32b, tiny
from .engine import Engine, Request
from .ranks import Ranks, ranks_here

ANSWER = 16  # tokens of each answer


class Bench:
    def __init__(self, engine: Engine, seed: int, scale: int) -> None:
        self.engine, self.rng, self.salts, self.scale = engine, random.Random(seed), 0, scale

    def text(self, tokens: int) -> list[int]:
        vocab = self.engine.cfg.vocab
        return [self.rng.randrange(vocab) for _ in range(max(1, tokens // self.scale))]

    def ask(self, prompt: list[int], caching: bool, new: int = ANSWER) -> Request:
        """One request, alone. Without caching it gets a salt of its own, so it hits nothing."""
        self.salts += 1
        salt = None if caching else f"off-{self.salts}"
        request = self.engine.submit(Request(prompt, new, salt))
        self.engine.run()
        return request

    # --- the four validation tests: TTFT in ms of each turn

    def conversation(self, caching: bool, texts: list[list[int]]) -> list[Request]:
        """2,000 tokens at first, then 500 more each turn, the last answer among them."""
        prompt: list[int] = []
        done = []
        for text in texts:
            prompt = prompt + text
            done.append(self.ask(prompt, caching))
            prompt = done[-1].tokens
        return done

    def separate(self, caching: bool, texts: list[list[int]]) -> list[Request]:
        return [self.ask(text, caching) for text in texts]

    def texts(self, test: str) -> tuple[Callable[..., list[Request]], list[list[int]]]:
        first = ANSWER * self.scale
        if test == "conversation":
            return self.conversation, [self.text(2000)] + [
                self.text(500 - first) for _ in range(4)
            ]
        if test == "long_prefix":
            shared = self.text(8000)
            return self.separate, [shared + self.text(50) for _ in range(3)]
        if test == "independent":
            return self.separate, [self.text(2000) for _ in range(5)]
        # The note's own: a conversation of 100 to 400 tokens.
        return self.conversation, [self.text(100)] + [self.text(75 - first) for _ in range(4)]

    def validation(self, repeats: int) -> dict:
        out = {}
        for test in ("conversation", "long_prefix", "independent", "short"):
            runs = []
            for repeat in range(-1, repeats):  # the first warms up
                run, texts = self.texts(test)
                # The arms alternate in who goes first.
                arms = (False, True) if repeat % 2 else (True, False)
                row = {}
                for caching in arms:
                    requests = run(caching, texts)
                    row["on" if caching else "off"] = [
                        {"ttft_ms": r.ttft_ms, "prompt": len(r.prompt), "cached": r.tokens_cached}
                        for r in requests
                    ]
                if repeat >= 0:
                    runs.append(row)
            out[test] = runs
        return out

    def ttft(self, prefixes: list[int], question: int, repeats: int) -> list[dict]:
        rows = []
        for prefix in prefixes:
            for repeat in range(-1 if prefix <= 8192 else 0, repeats):
                shared = self.text(prefix)
                # Both are cold; the second leaves the prefix behind for the hits.
                cold = [self.ask(shared + self.text(question), False, 1)] if repeats > 1 else []
                cold.append(self.ask(shared + self.text(question), True, 1))
                hits = [self.ask(shared + self.text(question), True, 1) for _ in range(3)]
                if repeat >= 0:
                    rows.append({
                        "prefix": prefix, "question": question,
                        "cold_ms": [c.ttft_ms for c in cold],
                        "hit_ms": [h.ttft_ms for h in hits],
                        "cached": [h.tokens_cached for h in hits],
                    })
        return rows

    def concurrency(self, levels: list[int], rounds: int) -> list[dict]:
        """Clients that each ask 8,000 shared and 200 own tokens and read 128 tokens."""
        rows = []
        for level in levels:
            for caching in (False, True) * rounds:
                shared = self.text(8000)
                if caching:
                    self.ask(shared, True, 1)
                self.engine.steps.clear()
                preempted = self.engine.preemptions
                began = time.perf_counter()
                requests = []
                for _ in range(level):
                    self.salts += 1
                    salt = None if caching else f"off-{self.salts}"
                    prompt = shared + self.text(200)
                    requests.append(self.engine.submit(Request(prompt, 128, salt)))
                self.engine.run()
                seconds = time.perf_counter() - began
                # 32 cold requests do not fit the pool at once, so the batch may be smaller.
                decode = [s for s in self.engine.steps if s[0] == s[1]]
                largest = max(s[1] for s in decode)
                decode = [s for s in decode if s[1] == largest]
                rows.append({
                    "clients": level, "caching": caching, "seconds": seconds,
                    "preemptions": self.engine.preemptions - preempted, "decode_batch": largest,
                    "output_tokens_per_s": 128 * level / seconds,
                    "ttft_ms": [r.ttft_ms for r in requests],
                    "cached": [r.tokens_cached for r in requests],
                    "decode_step_ms": statistics.median(s[2] for s in decode) * 1e3,
                    "manager_share_decode": sum(s[3] for s in decode) / sum(s[2] for s in decode),
                    "manager_us_decode": statistics.median(s[3] for s in decode) * 1e6,
                    "manager_share_all": sum(s[3] for s in self.engine.steps)
                    / sum(s[2] for s in self.engine.steps),
                })
        return rows

    def calibration(self, cached: list[int], new: list[int], batches: list[int]) -> list[dict]:
        """Times of single steps: `batch` sequences with `cached` tokens compute `new` each."""
        rows = []
        for p in cached:
            shared = self.text(p)
            if p:
                self.ask(shared + self.text(BLOCK_SIZE), True, 1)
            for n in new:
                times = []
                for _ in range(5):
                    self.engine.steps.clear()
                    request = self.ask(shared + self.text(n), True, 1)
                    times.append(self.engine.steps[0][2] * 1e3)
                got = request.tokens_cached
                rows.append({"new": len(request.prompt) - got, "cached": got, "batch": 1,
                             "ms": times[1:]})
            for batch in batches:
                if p:
                    self.engine.steps.clear()
                    for _ in range(batch):
                        self.engine.submit(Request(shared + self.text(BLOCK_SIZE), 12))
                    self.engine.run()
                    steps = [s[2] * 1e3 for s in self.engine.steps if s[0] == s[1] == batch]
                    rows.append({"new": 1, "cached": p + 22, "batch": batch, "ms": steps})
        return rows

    def exactness(self, prefix: int) -> dict:
        """Logits of hits against cold runs: same chunks, other chunks; poisoned free pages."""
        engine = self.engine
        engine.keep_logits = engine.poison = True
        chunk = engine.max_chunk
        tokens, other = self.text(prefix), self.text(300)
        prompt = tokens + other

        def error(a: Request, b: Request) -> float:
            return float((a.logits - b.logits).norm() / b.logits.norm())

        boundary = len(tokens) // BLOCK_SIZE * BLOCK_SIZE
        engine.max_chunk = boundary
        cold = self.ask(prompt, False, 8)
        self.ask(prompt[:boundary] + self.text(3), True, 1)
        hit = self.ask(prompt, True, 8)
        engine.max_chunk = 512 // self.scale
        chunked = self.ask(prompt, False, 8)
        engine.max_chunk = chunk
        whole = self.ask(prompt, False, 8)
        unrelated = self.ask(self.text(prefix), False, 1)
        # What the comparison could see: one block in the middle of the prefix is another.
        swapped = list(prompt)
        middle = boundary // 2 // BLOCK_SIZE * BLOCK_SIZE
        swapped[middle : middle + BLOCK_SIZE] = self.text(BLOCK_SIZE * self.scale)
        swapped_block = self.ask(swapped, False, 1)
        engine.keep_logits = engine.poison = False
        return {
            "tokens": len(prompt), "cached": hit.tokens_cached,
            "hit_is_cold_bit_for_bit_same_chunks": torch.equal(hit.logits, cold.logits),
            "hit_to_cold_same_chunks": error(hit, cold), "hit_to_cold_one_chunk": error(hit, whole),
            "cold_chunks_of_512_to_one_chunk": error(chunked, whole),
            "unrelated_prompt_to_cold": error(unrelated, whole),
            "one_block_swapped_to_cold": error(swapped_block, whole),
            "outputs_equal_same_chunks": hit.output == cold.output,
            "outputs_equal_one_chunk": hit.output == whole.output,
            "any_nan": bool(hit.logits.isnan().any() or whole.logits.isnan().any()),
        }

    def attention_error(self, tokens: int) -> dict:
        """The kernel over the pages of a real prompt against float32 on gathered pages."""
        from .batch import Batch
        from .ops_torch import gather

        engine, cfg = self.engine, self.engine.cfg
        request = engine.submit(Request(self.text(tokens), 2))
        engine.step()
        table = engine.cache.kv.block_table(request.seq)
        device = engine.model.device
        tables = torch.zeros_like(engine.cache.device_tables)
        tables[0, : len(table)] = torch.from_numpy(table).to(device)
        n, rows = request.computed, []
        for new, gathered in ((1, False), (100, False), (100, True)):
            new = min(new, n)
            batch = Batch(cfg, new, new == 1, device, gathered)
            batch.fill(tables.cpu().numpy(), tables, [(n - new, [0] * new)])
            q = torch.randn(new, cfg.rank_q_heads, cfg.head_dim, device=device).half()
            before, after = [], []
            for pages in engine.model.pages:
                ops, layer = engine.model.ops, cfg.layers - 1
                y = ops.attention(q, layer, pages, batch).float()
                out, scale = ops.attention_quant(q, layer, pages, batch)
                k, v = gather(pages, layer, torch.from_numpy(table).to(device).long(), n)
                k, v = (x.repeat_interleave(cfg.group, 1) for x in (k, v))
                s = torch.einsum("qhd,khd->hqk", q.float(), k) * cfg.head_dim**-0.5
                hidden = torch.arange(n, device=device) > batch.positions[:new, None]
                p = s.masked_fill(hidden, float("-inf")).softmax(-1)
                exact = torch.einsum("hqk,khd->qhd", p, v)
                for errors, got in ((before, y), (after, (out.float() * scale).view_as(q))):
                    errors.append(float((got - exact).norm() / exact.norm()))
            rows.append({"queries": new, "gathered": gathered, "relative_error": max(before),
                         "relative_error_as_fp8": max(after)})
        engine.run()
        return {"tokens": n, "kernels": rows}


def environment(cfg: Config, ranks: Ranks, args: argparse.Namespace) -> dict:
    cuda = torch.cuda.is_available()
    try:
        import triton

        triton_version = triton.__version__
    except ImportError:
        triton_version = None
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "torch": torch.__version__, "triton": triton_version, "cuda": torch.version.cuda,
        "python": platform.python_version(), "kvkeep": version("kvkeep"),
        "command": " ".join(
            ["python -m gpu_engine.measure"]
            + [a for a in sys.argv[1:] if "/" not in a and a != "--out"]
        ),
        "date": time.strftime("%Y-%m-%d"), "layers": cfg.layers, "num_blocks": cfg.num_blocks,
        "bytes_per_block_per_rank": cfg.kv_layout().bytes_per_block_per_gpu(),
        "ranks": cfg.ranks, "processes": cfg.ranks // len(ranks.local), "seed": args.seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--parts", default="exactness,validation,ttft,concurrency,calibration,ttft_long")
    parser.add_argument("--prefixes", default="512,2048,8192,32768")
    parser.add_argument("--tiny", action="store_true", help="toy size, lengths over 32, any device")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    cfg = tiny(512) if args.tiny else qwen3_32b(args.layers)
    ranks, device = ranks_here(cfg.ranks)
    began = time.perf_counter()
    engine = Engine(cfg, ranks, device)
    bench = Bench(engine, args.seed, 32 if args.tiny else 1)
    result = {"environment": environment(cfg, ranks, args) | {"max_chunk": engine.max_chunk}}
    if device != "cpu":
        result["environment"]["memory_gib"] = torch.cuda.memory_allocated() / 2**30

    # All ranks run all of it; one speaks.
    speaks = 0 in ranks.local

    def note(text: str) -> None:
        if speaks:
            print(f"[{time.perf_counter() - began:7.1f} s] {text}", flush=True)

    note(f"engine is up: {result['environment']}")
    prefixes = [int(p) for p in args.prefixes.split(",")]
    if args.tiny:
        prefixes = [p for p in prefixes if p <= 8192]
    parts = {
        "exactness": lambda: {
            "attention": [bench.attention_error(n) for n in (1000, 8000)],
            "hits": [bench.exactness(n) for n in (1000, 4000)],
        },
        "validation": lambda: bench.validation(args.repeats),
        "ttft": lambda: bench.ttft(prefixes, 64, max(3, args.repeats // 3)),
        # A cold prompt of 100k tokens takes half a minute, so these come last.
        "ttft_long": lambda: bench.ttft([100_000], 64, 2),
        "concurrency": lambda: bench.concurrency([1] if args.tiny else [1, 8, 32], 2),
        "calibration": lambda: bench.calibration(
            [0, 2048, 8192] + ([] if args.tiny else [32768]), [16, 128, 512, 2048, 8000],
            [] if args.tiny else [1, 8, 32],
        ),
    }
    for name in args.parts.split(","):
        result[name] = parts[name]()
        if speaks:
            args.out.write_text(json.dumps(result, indent=1) + "\n")
        note(f"{name} is done")


if __name__ == "__main__":
    main()
