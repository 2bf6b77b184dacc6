//! A look at the engine without a server: a hit against a cold run, and what the dtype of
//! the pages costs.

use crate::Args;
use kvkeep::Identity;
use kvkeep_engine::{Engine, Output, PageDtype, Request, Sampling};
use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Tokens of the prompts that share all but their last ones.
const PROMPT_TOKENS: usize = 2000;
const FRESH_TOKENS: usize = 100;
/// Tokens of the prompt that is computed in every dtype.
const COMPARED_TOKENS: usize = 512;

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut engine = args.engine(args.kv_cache_dtype)?;
    let vocab = engine.model().shape().vocab_size;
    let prompt = made_up(PROMPT_TOKENS, vocab);
    let mut out = io::stdout().lock();

    let warm_up: Vec<u32> = prompt.iter().rev().copied().collect();
    first_token(&mut engine, &warm_up)?;
    writeln!(
        out,
        "{PROMPT_TOKENS} tokens, {} pages, {} ranks",
        args.kv_cache_dtype, args.tensor_parallel_size
    )?;
    let (cold, cold_time) = first_token(&mut engine, &prompt)?;
    writeln!(
        out,
        "  cold  {:>4} tokens cached, first token after {:>7.1} ms",
        cold.tokens_cached,
        ms(cold_time)
    )?;
    let (hit, hit_time) = first_token(&mut engine, &prompt)?;
    let same = if hit.logits == cold.logits { "the same bits" } else { "OTHER BITS" };
    writeln!(
        out,
        "  hit   {:>4} tokens cached, first token after {:>7.1} ms, logits: {same}",
        hit.tokens_cached,
        ms(hit_time)
    )?;
    let fresh = [&prompt[..PROMPT_TOKENS - FRESH_TOKENS], &made_up(FRESH_TOKENS, vocab)].concat();
    let (fresh, fresh_time) = first_token(&mut engine, &fresh)?;
    writeln!(
        out,
        "  other {:>4} tokens cached, first token after {:>7.1} ms, {FRESH_TOKENS} fresh at the end",
        fresh.tokens_cached,
        ms(fresh_time)
    )?;

    writeln!(out, "logits after {COMPARED_TOKENS} tokens, against f32 pages")?;
    let logits = |dtype| -> Result<Vec<f32>, Box<dyn Error>> {
        Ok(first_token(&mut args.engine(dtype)?, &prompt[..COMPARED_TOKENS])?.0.logits)
    };
    let exact = logits(PageDtype::F32)?;
    for dtype in [PageDtype::Bf16, PageDtype::Fp8] {
        let rounded = logits(dtype)?;
        let off: f32 = rounded.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
        let whole: f32 = exact.iter().map(|logit| logit.powi(2)).sum();
        writeln!(out, "  {dtype:<5} {:.3} % off (root mean square)", 100.0 * (off / whole).sqrt())?;
    }
    Ok(())
}

/// Runs a prompt to its first token.
fn first_token(engine: &mut Engine, prompt: &[u32]) -> Result<(Output, Duration), Box<dyn Error>> {
    let start = Instant::now();
    engine.submit(Request {
        prompt: prompt.to_vec(),
        max_new_tokens: 1,
        samples: 1,
        sampling: Sampling { temperature: 0.0, seed: 0 },
        ignore_end: true,
        identity: Identity::default(),
    })?;
    loop {
        if let Some(output) = engine.step()?.pop() {
            return Ok((output, start.elapsed()));
        }
    }
}

fn made_up(tokens: usize, vocab: usize) -> Vec<u32> {
    (0..tokens as u64)
        .map(|at| (at * at * 7 + at * 31 + 3) % vocab as u64)
        .map(|token| token as u32)
        .collect()
}

fn ms(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}
