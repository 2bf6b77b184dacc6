//! Attention over scattered pages.
//!
//! A query sees the pages of its sequence in order, one block at a time, with the running
//! softmax of Milakov and Gimelshein (2018), as in FlashAttention. It reads K and V from the pages
//! only, those of its own step as well, and no slot behind its position. So its result
//! depends on the content of these slots and the block size, and neither on where the
//! pages are, nor on which other tokens are in the step.

use crate::cache::KvCache;
use crate::rows::dot;
use crate::{Error, Segment};
use kvkeep::budget::PagePart;
use rayon::prelude::*;

/// Heads of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) kv_heads: usize,
    /// Query heads that share a KV head.
    pub(crate) group_size: usize,
    pub(crate) head_dim: usize,
}

impl Heads {
    /// Elements of a row of queries.
    fn row(&self) -> usize {
        self.kv_heads * self.group()
    }

    /// Elements of the queries that share a KV head.
    fn group(&self) -> usize {
        self.group_size * self.head_dim
    }
}

/// Attention of all rows of a batch. `queries` are its rows, segment after segment.
pub(crate) fn attend(
    cache: &KvCache,
    layer: usize,
    heads: Heads,
    batch: &[Segment<'_>],
    queries: &[f32],
) -> Result<Vec<f32>, Error> {
    let mut work = Vec::new();
    let mut first_row = 0;
    for segment in batch {
        work.extend((0..heads.kv_heads).map(|head| (segment, first_row, head)));
        first_row += segment.tokens.len();
    }
    let (row, group) = (heads.row(), heads.group());
    let done = work
        .into_par_iter()
        .map(|(segment, first_row, head)| {
            let rows = &queries[first_row * row..][..segment.tokens.len() * row];
            let mut own = Vec::with_capacity(segment.tokens.len() * group);
            for row in rows.chunks_exact(row) {
                own.extend_from_slice(&row[head * group..][..group]);
            }
            Ok((first_row, head, attend_head(cache, layer, heads, segment, head, &own)?))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let mut out = vec![0.0; queries.len()];
    for (first_row, head, rows) in done {
        let places = out[first_row * row..].chunks_exact_mut(row);
        for (place, result) in places.zip(rows.chunks_exact(group)) {
            place[head * group..][..group].copy_from_slice(result);
        }
    }
    Ok(out)
}

/// The softmax of one query, so far.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

/// Attention of the queries of one KV head, `[token][query head][head_dim]`.
fn attend_head(
    cache: &KvCache,
    layer: usize,
    heads: Heads,
    segment: &Segment<'_>,
    head: usize,
    queries: &[f32],
) -> Result<Vec<f32>, Error> {
    let Heads { group_size, head_dim, .. } = heads;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut running = vec![Running { max: f32::NEG_INFINITY, sum: 0.0 }; queries.len() / head_dim];
    let mut out = vec![0.0; queries.len()];
    let mut scores = vec![0.0; cache.block_size()];
    let tokens = segment.first + segment.tokens.len();
    cache.for_each_block(segment.table, tokens, |start, block, slots| {
        let keys = cache.read(block, layer, PagePart::Key, head, slots)?;
        let values = cache.read(block, layer, PagePart::Value, head, slots)?;
        // The first token of the step that sees this block.
        let seeing = start.saturating_sub(segment.first) * group_size;
        let states = running.iter_mut().enumerate().skip(seeing);
        let rows = queries.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).skip(seeing);
        for ((at, state), (query, out)) in states.zip(rows) {
            let position = segment.first + at / group_size;
            let visible = slots.min(position + 1 - start);
            let scores = &mut scores[..visible];
            let mut max = state.max;
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(head_dim)) {
                *score = dot(query, key) * scale;
                max = max.max(*score);
            }
            let shrink = (state.max - max).exp();
            state.max = max;
            state.sum *= shrink;
            out.iter_mut().for_each(|sum| *sum *= shrink);
            for (score, value) in scores.iter().zip(values.chunks_exact(head_dim)) {
                let weight = (score - max).exp();
                state.sum += weight;
                for (sum, value) in out.iter_mut().zip(value) {
                    *sum += weight * value;
                }
            }
        }
        Ok(())
    })?;
    for (state, out) in running.iter().zip(out.chunks_exact_mut(head_dim)) {
        out.iter_mut().for_each(|sum| *sum /= state.sum);
    }
    Ok(out)
}
