//! A plan as a table for people and as JSON for programs.

use crate::budget_args::Plan;
use kvkeep::budget::{RankBudget, Value};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// The table.
pub(super) fn table(plan: &Plan) -> String {
    let budget = &plan.budget;
    let bytes = |n: u64| Value::Bytes(n).to_string();
    let mut rows = vec![
        ("blocks", Value::Blocks(budget.num_blocks.into()).amount()),
        ("tokens", Value::Tokens(budget.num_tokens).amount()),
        ("bytes per block per GPU", bytes(budget.bytes_per_block_per_gpu)),
    ];
    if let Some(concurrency) = budget.max_concurrency {
        rows.push(("full-length requests at once", format!("{concurrency:.2}")));
    }
    rows.push(("longest max_model_len", Value::Tokens(budget.longest_model_len).to_string()));
    let stranded = u64::try_from(budget.stranded_bytes()).unwrap_or(u64::MAX);
    rows.push(("stranded on all GPUs", bytes(stranded)));

    let mut out = format!("{}\n\n", title(plan));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        let _ = writeln!(out, "  {name:<width$}  {value}");
    }
    if budget.ranks.windows(2).any(|pair| !same_figures(&pair[0], &pair[1])) {
        out.push_str(&ranks(&budget.ranks));
    }
    out.push_str("\nDerivation\n");
    for line in budget.derivation.to_string().lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn title(plan: &Plan) -> String {
    let layout = &plan.layout;
    let (ranks, stages) = (layout.tensor_parallel_size(), layout.pipeline_parallel_size());
    let gpus = match layout.num_ranks() {
        1 => "1 GPU".to_owned(),
        n if stages == 1 => format!("{n} GPUs, tensor parallel"),
        n if ranks == 1 => format!("{n} GPUs, pipeline parallel"),
        n => format!("{n} GPUs, {ranks} tensor parallel x {stages} stages"),
    };
    format!(
        "{} on {gpus}: {} KV cache, blocks of {} tokens",
        plan.model.name,
        layout.dtype(),
        layout.block_size()
    )
}

fn same_figures(a: &RankBudget, b: &RankBudget) -> bool {
    let figures = |rank: &RankBudget| (rank.pipeline_stage, rank.kv_bytes);
    figures(a) == figures(b)
}

/// A line for each run of GPUs with the same figures.
fn ranks(ranks: &[RankBudget]) -> String {
    let mut out = String::from(
        "\n  GPUs     stage  layers  blocks alone  KV cache (GiB)  remainder (MiB)  uneven (MiB)\n",
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for run in ranks.chunk_by(same_figures) {
        let [first, ..] = run else { continue };
        let gpus = match run {
            [only] => only.rank.to_string(),
            _ => format!("{}-{}", first.rank, first.rank as usize + run.len() - 1),
        };
        let _ = writeln!(
            out,
            "  {gpus:<7}  {:>5}  {:>6}  {:>12}  {:>14.2}  {:>15.2}  {:>12.2}",
            first.pipeline_stage,
            first.layers,
            Value::Blocks(first.num_blocks_alone).amount(),
            mib(first.kv_bytes) / 1024.0,
            mib(first.remainder_bytes),
            mib(first.uneven_bytes)
        );
    }
    out
}

/// The JSON object.
pub(super) fn json(plan: &Plan) -> Json {
    let (budget, layout) = (&plan.budget, &plan.layout);
    let ranks: Vec<Json> = budget
        .ranks
        .iter()
        .map(|rank| {
            json!({
                "rank": rank.rank,
                "pipeline_stage": rank.pipeline_stage,
                "layers": rank.layers,
                "kv_bytes": rank.kv_bytes,
                "bytes_per_block": rank.bytes_per_block,
                "num_blocks_alone": rank.num_blocks_alone,
                "remainder_bytes": rank.remainder_bytes,
                "uneven_bytes": rank.uneven_bytes,
            })
        })
        .collect();
    let derivation: Vec<Json> = budget
        .derivation
        .lines()
        .iter()
        .map(|line| {
            json!({
                "name": line.name,
                "formula": line.formula,
                "value": number(line.value),
                "unit": line.value.unit(),
            })
        })
        .collect();
    json!({
        "model": plan.model.name,
        "kv_cache_dtype": layout.dtype().to_string(),
        "block_size": budget.block_size,
        "tensor_parallel_size": layout.tensor_parallel_size(),
        "pipeline_parallel_size": layout.pipeline_parallel_size(),
        "num_blocks": budget.num_blocks,
        "num_tokens": budget.num_tokens,
        "bytes_per_block_per_gpu": budget.bytes_per_block_per_gpu,
        "max_concurrency": budget.max_concurrency,
        "longest_model_len": budget.longest_model_len,
        "stranded_bytes": u64::try_from(budget.stranded_bytes()).unwrap_or(u64::MAX),
        "ranks": ranks,
        "derivation": derivation,
        "warnings": plan.warnings,
    })
}

fn number(value: Value) -> Json {
    match value {
        Value::Bytes(n)
        | Value::Layers(n)
        | Value::Heads(n)
        | Value::Blocks(n)
        | Value::Tokens(n) => n.into(),
        Value::Requests(n) => n.into(),
        _ => Json::Null,
    }
}
