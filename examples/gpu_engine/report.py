"""Makes REPORT.md and its pictures from the raw results of one run of all parts.

    cd examples && python -m gpu_engine.report gpu_engine/results/h100.json
"""

import argparse
import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .prediction import Prediction

RESULTS = Path(__file__).parent / "results"
NAMES = {"conversation": "conversation", "long_prefix": "long prefix",
         "independent": "independent", "short": "short (the note's own)"}
TARGETS = {"conversation": 2.0, "long_prefix": 2.5}
# What the deployment's note has: speed-up before, and after its change.
NOTE = {"conversation": ("x1.14", "x1.37"), "long_prefix": ("x1.20", "x1.11")}


def spread(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def turns(runs: list[dict], arm: str) -> list[list[float]]:
    return [[t["ttft_ms"] for t in turn] for turn in zip(*(run[arm] for run in runs))]


def ratios(runs: list[dict]) -> tuple[list[float], list[float]]:
    """Of each repetition: the note's ratio (first turn over the mean of the following ones, caching
    on), and the sound one (following turns, off over on)."""
    note, sound = [], []
    for run in runs:
        on = [t["ttft_ms"] for t in run["on"]]
        off = [t["ttft_ms"] for t in run["off"]]
        note.append(on[0] / (sum(on[1:]) / len(on[1:])))
        sound.append(median(a / b for a, b in zip(off[1:], on[1:])))
    return note, sound


def validation(data: dict, prediction: Prediction) -> list[str]:
    out = ["## The four validation tests", "",
           "Ratios: *note's* is the first message over the mean of the following ones, caching on;"
           " *sound* is the same turn, off over on (median over the following turns). Median and"
           f" range of {len(data['conversation'])} repetitions.", "",
           "| test | note before | note after | target | note's ratio here | sound ratio here | met |",
           "|---|---|---|---|---|---|---|"]
    for test, runs in data.items():
        note, sound = ratios(runs)
        target = TARGETS.get(test)
        met = "" if target is None else "yes" if median(sound) >= target else "no"
        before, after = NOTE.get(test, ("", ""))
        out.append(f"| {NAMES[test]} | {before} | {after} | {f'x{target}' if target else ''} |"
                   f" x{spread(note)} | x{spread(sound)} | {met} |")
    out += ["", "TTFT in ms, by turn, and what is predicted from the calibration points:", "",
            "| test | turn | prompt tokens | cached | off | predicted | on | predicted |",
            "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for test, runs in data.items():
        for i, (off, on) in enumerate(zip(turns(runs, "off"), turns(runs, "on"))):
            prompt, cached = (runs[0]["on"][i][k] for k in ("prompt", "cached"))
            out.append(f"| {NAMES[test]} | {i + 1} | {prompt:,} | {cached:,} |"
                       f" {spread(off)} | {prediction.beside(median(off), prompt, 0)} |"
                       f" {spread(on)} | {prediction.beside(median(on), prompt, cached)} |")
    hits = [t["ttft_ms"] for runs in data.values() for run in runs for t in run["on"] if t["cached"]]
    out += ["", f"The slowest hit took {max(hits):.0f} ms; the target is under 800 ms.", "",
            "![TTFT by turn](results/validation.svg)", ""]
    figure, axes = plt.subplots(1, len(data), figsize=(13, 3.4), layout="constrained")
    for axis, (test, runs) in zip(axes, data.items()):
        for arm, colour in (("off", "#b0413e"), ("on", "#2a6f97")):
            rows = turns(runs, arm)
            x = range(1, len(rows) + 1)
            axis.plot(x, [median(r) for r in rows], "o-", color=colour, label=f"caching {arm}")
            axis.fill_between(x, [min(r) for r in rows], [max(r) for r in rows], color=colour,
                              alpha=0.2)
        axis.set(title=NAMES[test], xlabel="turn", xticks=list(x))
        axis.set_ylim(0, axis.get_ylim()[1] * 1.1)
    axes[0].set_ylabel("TTFT, ms")
    axes[0].legend(frameon=False)
    figure.savefig(RESULTS / "validation.svg")
    return out


def ttft(rows: list[dict], prediction: Prediction) -> list[str]:
    out = ["## TTFT by length of the prefix", "", "A prefix, then a question of"
           f" {rows[0]['question']} tokens; nothing else runs. Cold runs come in pairs, one whose"
           " blocks nobody finds and one that leaves its blocks behind; both count.", "",
           "| prefix, tokens | cold, ms | n | predicted | hit, ms | n | predicted | cold over hit |",
           "|---:|---:|---:|---:|---:|---:|---:|---:|"]
    x, cold, hit = [], [], []
    for prefix in sorted({r["prefix"] for r in rows}):
        mine = [r for r in rows if r["prefix"] == prefix]
        cold.append([v for r in mine for v in r["cold_ms"]])
        hit.append([v for r in mine for v in r["hit_ms"]])
        x.append(prefix)
        prompt, cached = prefix + mine[0]["question"], mine[0]["cached"][0]
        c, h = median(cold[-1]), median(hit[-1])
        out.append(f"| {prefix:,} | {spread(cold[-1])} | {len(cold[-1])} |"
                   f" {prediction.beside(c, prompt, 0)} | {spread(hit[-1])} | {len(hit[-1])} |"
                   f" {prediction.beside(h, prompt, cached)} | x{c / h:.1f} |")
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.loglog(x, [median(v) for v in cold], "o-", color="#b0413e", label="cold")
    axis.loglog(x, [median(v) for v in hit], "o-", color="#2a6f97", label="hit")
    axis.axhline(800, color="grey", linestyle="--", linewidth=1)
    axis.text(x[0], 860, "target for hits: 800 ms", color="grey", fontsize=8)
    axis.set(xlabel="tokens of prefix", ylabel="TTFT, ms")
    axis.legend(frameon=False)
    figure.savefig(RESULTS / "ttft.svg")
    return out + ["", "![TTFT by prefix](results/ttft.svg)", ""]


def concurrency(rows: list[dict], prediction: Prediction) -> list[str]:
    rounds = sum(r["clients"] == 1 and r["caching"] for r in rows)
    alone = [t for r in rows if r["clients"] == 1 and r["caching"] for t in r["ttft_ms"]]
    out = ["## Concurrency", "", "Clients that come at once, each with 8,000 shared and 200 own"
           " tokens, and read 128 tokens. With caching on the shared tokens are cached before the"
           " clients come, which is not in these times (a cold prefix takes 0.6 s). 32 cold clients"
           f" do not fit the pool together, so some wait. {rounds} rounds.", "",
           "| clients | caching | output tokens/s | TTFT, ms | preemptions | decode step, ms (batch) |"
           " manager per decode step | share of step |", "|---:|---|---:|---:|---:|---:|---:|---:|"]
    for clients, caching in sorted({(r["clients"], r["caching"]) for r in rows}):
        mine = [r for r in rows if (r["clients"], r["caching"]) == (clients, caching)]
        mid = {k: median(r[k] for r in mine) for k in (
            "output_tokens_per_s", "decode_step_ms", "manager_us_decode", "manager_share_decode")}
        out.append(
            f"| {clients} | {'on' if caching else 'off'} | {mid['output_tokens_per_s']:.0f} |"
            f" {spread([t for r in mine for t in r['ttft_ms']])} |"
            f" {median(r['preemptions'] for r in mine):.0f} | {mid['decode_step_ms']:.1f}"
            f" ({mine[0]['decode_batch']}) | {mid['manager_us_decode']:.0f} us |"
            f" {mid['manager_share_decode']:.2%} |")
    return out + ["", "The manager's time includes Python's call into it, two for each step. What"
                  " is predicted for one client with a hit, in ms:"
                  f" {prediction.beside(median(alone), 8200, 8000)}.", ""]


def exactness(data: dict) -> list[str]:
    out = ["## Is a hit the same as a cold run?", "",
           "Attention over pages against float32 on the gathered pages, relative error; the next"
           " product takes the rows as fp8, which costs more than the kernels do:", "",
           "| tokens | queries | kernel | error | as fp8 |", "|---:|---:|---|---:|---:|"]
    for r in data["attention"]:
        for k in r["kernels"]:
            kernel = "gathered keys" if k["gathered"] else "pages"
            out.append(f"| {r['tokens']:,} | {k['queries']} | {kernel} |"
                       f" {k['relative_error']:.5f} | {k['relative_error_as_fp8']:.3f} |")
    out += ["", "Logits of the first answer token, relative distance to a cold run, with NaN in all"
            " free pages:", "", "| prompt | cached | same chunks | hit, cold in one chunk |"
            " cold in chunks of 512, cold in one chunk | one block of the prefix swapped |"
            " another prompt | NaN |", "|---:|---:|---|---:|---:|---:|---:|---|"]
    for r in data["hits"]:
        same = "bit for bit" if r["hit_is_cold_bit_for_bit_same_chunks"] else "differs"
        out.append(f"| {r['tokens']:,} | {r['cached']:,} | {same} | {r['hit_to_cold_one_chunk']:.3f} |"
                   f" {r['cold_chunks_of_512_to_one_chunk']:.3f} |"
                   f" {r['one_block_swapped_to_cold']:.3f} | {r['unrelated_prompt_to_cold']:.3f} |"
                   f" {'yes' if r['any_nan'] else 'no'} |")
    return out + ["", "The tolerance: none with the same chunk boundaries. With others, a hit may be"
                  " as far from a cold run as cold runs with other chunks are from each other: a"
                  " matrix product of another height may round differently, and 64 random layers"
                  " with sharp attention blow up each fp8 rounding that flips. That is about what one"
                  " wrong block does, so only the first rule could show one.", ""]


def calibration(rows: list[dict], prediction: Prediction) -> list[str]:
    c = prediction.coefficients
    out = ["## Calibration points", "", "Whole steps: `batch` sequences compute `new` tokens after"
           " `cached` ones. Fitted to those of batch 1 with new prompt tokens, by relative error:"
           f" {c[0]:.2f} + {c[1]:.4f} new + {c[2]:.3g} new (cached + new / 2) + {c[3]:.3g} cached"
           " ms. A cold step of 200 to 400 tokens costs less, since reading the weights hides its"
           " products; short chunks after a long context cost more, since they attend straight"
           " from the pages.",
           "", "| new | cached | batch | ms | fitted |", "|---:|---:|---:|---:|---:|"]
    for r in rows:
        ms = median(r["ms"])
        fitted = "" if r["new"] == 1 else prediction.beside(ms, r["new"] + r["cached"], r["cached"])
        out.append(f"| {r['new']:,} | {r['cached']:,} | {r['batch']} | {ms:.1f} | {fitted} |")
    return out + [""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="what measure.py wrote")
    data = json.loads(parser.parse_args().results.read_text())
    plt.rcParams.update({"svg.hashsalt": "kvkeep", "axes.spines.top": False,
                         "axes.spines.right": False})
    env = data["environment"]
    out = ["# Qwen3-32B's shapes on one GPU", "",
           f"{env['device']}, {env['ranks']} ranks on it, {env['layers']} layers, random fp8 weights;"
           f" {env['num_blocks']:,} blocks of {env['bytes_per_block_per_rank']:,} bytes per rank,"
           f" {env['memory_gib']:.1f} GiB in all. torch {env['torch']}, Triton {env['triton']},"
           f" {env['date']}. Made by `report.py` from the raw samples of one run of `measure.py`, in"
           " [results/](results).", ""]
    prediction = Prediction(data["calibration"], data["environment"]["max_chunk"])
    out += validation(data["validation"], prediction)
    out += ttft(data["ttft"] + data["ttft_long"], prediction)
    out += concurrency(data["concurrency"], prediction)
    out += exactness(data["exactness"])
    out += calibration(data["calibration"], prediction)
    (Path(__file__).parent / "REPORT.md").write_text("\n".join(out).rstrip() + "\n")


if __name__ == "__main__":
    main()
