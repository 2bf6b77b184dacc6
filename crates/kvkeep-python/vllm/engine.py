"""The real engine on a CPU, with and without kvkeep: same tokens, same cached-token counts?

    engine.py FOLDER

FOLDER is what setup.sh made; 0.33 is its sources over the compiled parts of 0.32, whose
attention is the same. A tiny Qwen3 with random weights runs the same requests at
levels 0 (vLLM), 1 and 2, in process and as separate processes, with fp8 KV and without, each
with asynchronous scheduling on and a pool so small that requests are preempted. Writes
results/engine.json beside this file. Ends with 1 if any answer or count differs from
vLLM's, or a level is not on by what vLLM's log says.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from overlay import overlay
from tests import HERE, build, environment

BLOCK = 32
VERSIONS = ["0.32.0", "0.33.0"]
SAID = {0: [], 1: ["kvkeep: block pool"], 2: ["kvkeep: block pool", "kvkeep: level 2"]}
"""How the lines of a level begin, in vLLM's log."""


def make_model(folder: Path) -> Path:
    """A Qwen3 with random weights from a fixed seed."""
    model = folder / "tiny-qwen3"
    if not (model / "config.json").exists():
        import torch
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=1024, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=32,
            max_position_embeddings=4096,
        )
        Qwen3ForCausalLM(config).save_pretrained(model)
    return model


def prompts() -> list[list[int]]:
    """Three system prompts, each followed by eight questions, and some strangers."""
    rng = random.Random(7)
    systems = [rng.choices(range(1024), k=tokens) for tokens in (96, 250, 400)]
    asked = [system + rng.choices(range(1024), k=rng.randrange(10, 200))
             for system in systems for _ in range(8)]
    asked += [rng.choices(range(1024), k=rng.randrange(20, 600)) for _ in range(8)]
    rng.shuffle(asked)
    return asked


def answer(model: Path, kv_cache_dtype: str, blocks: int) -> None:
    """Runs the requests twice, the second time as the next turn; prints JSON."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(model), skip_tokenizer_init=True, dtype="float32", max_model_len=2048,
        block_size=BLOCK, num_gpu_blocks_override=blocks, kv_cache_dtype=kv_cache_dtype,
        max_num_seqs=16, max_num_batched_tokens=512, async_scheduling=True,
        enable_prefix_caching=True, disable_log_stats=False, enforce_eager=True, seed=0,
    )
    params = SamplingParams(temperature=0.0, max_tokens=48, ignore_eos=True, detokenize=False)
    asked, turns = prompts(), []
    for _ in range(2):
        outputs = llm.generate(
            [{"prompt_token_ids": prompt} for prompt in asked], params, use_tqdm=False
        )
        turns.append([[list(output.outputs[0].token_ids), output.num_cached_tokens]
                      for output in outputs])
        asked = [prompt + list(output.outputs[0].token_ids) + [1, 2, 3]
                 for prompt, output in zip(asked, outputs)]
    counters = {metric.name: metric.value for metric in llm.get_metrics()
                if metric.name in ("vllm:num_preemptions", "vllm:prefix_cache_hits")}
    print("ANSWER " + json.dumps({"turns": turns, "counters": counters}))


def runnable(folder: Path, version: str, level: int) -> dict[str, str]:
    """The environment of a version, with compiled parts where it has none."""
    env = environment(folder, version, level)
    if version == "0.32.0":
        return env
    sources = folder / f"vllm-{version}"
    wheel = next(folder.glob("venv/lib/python*/site-packages/vllm"))
    compiled = {part.name: part for part in wheel.glob("*.so")}
    whole = overlay(sources, folder / f"engine-{version}", compiled)
    return env | {"PYTHONPATH": env["PYTHONPATH"].replace(str(sources), str(whole))}


def ask(
    folder: Path, model: Path, version: str, level: int, processes: int, dtype: str, blocks: int
) -> dict:
    env = runnable(folder, version, level) | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": str(processes), "VLLM_CPU_KVCACHE_SPACE": "1",
        "KVKEEP_ANSWER": "1",
    }
    command = [folder / "venv/bin/python", __file__, folder, "--dtype", dtype]
    done = subprocess.run([*command, "--blocks", str(blocks)], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = done.stdout.splitlines()
    said = [line[line.index("kvkeep:"):] for line in lines if "kvkeep:" in line]
    answers = [line for line in lines if line.startswith("ANSWER ")]
    if not answers and level == 0:
        # What vLLM itself refuses here: fp8 KV on a CPU without AVX-512, for one.
        refused = [line for line in lines if "Error: " in line and "fp8" in line.lower()]
        if refused:
            return {"refused": refused[0].partition("Error: ")[2]}
    if not answers:
        sys.exit(done.stdout[-4000:])
    on = len(said) == len(SAID[level]) and all(map(str.startswith, said, SAID[level]))
    return json.loads(answers[0].removeprefix("ANSWER ")) | {"log": said, "on": on}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--blocks", type=int, default=120)
    options = parser.parse_args()
    folder = options.folder.resolve()
    model = make_model(folder)
    if os.environ.get("KVKEEP_ANSWER"):
        answer(model, options.dtype, options.blocks)
        return 0
    report, differing, installed = [], 0, build(folder)
    for version, processes, dtype in itertools.product(VERSIONS, (0, 1), ("auto", "fp8")):
        setting = {"vllm": version, "kv_cache_dtype": dtype,
                   "process": ["the same", "another"][processes], "blocks": options.blocks}
        stock = None
        for level in (0, 1, 2):
            found = ask(folder, model, version, level, processes, dtype, options.blocks)
            if "refused" in found:
                report.append(setting | found)
                print(report[-1], flush=True)
                break
            stock = stock or found
            cached = [[tokens for _, tokens in turn] for turn in found["turns"]]
            row = setting | {
                "level": level, "build": installed, "log": found["log"],
                "requests": sum(map(len, found["turns"])),
                "cached_tokens": sum(map(sum, cached)), **found["counters"],
                "same_tokens": [[out for out, _ in turn] for turn in found["turns"]]
                == [[out for out, _ in turn] for turn in stock["turns"]],
                "same_cached_tokens": cached
                == [[tokens for _, tokens in turn] for turn in stock["turns"]],
                "same_preemptions": found["counters"] == stock["counters"],
            }
            print(row, flush=True)
            report.append(row)
            differing += not (found["on"] and row["same_tokens"] and row["same_cached_tokens"]
                              and row["same_preemptions"])
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "engine.json").write_text(json.dumps(report, indent=1) + "\n")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
