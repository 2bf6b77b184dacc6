//! A Qwen3-style decoder: RMSNorm, rotary embedding, grouped-query attention whose queries
//! and keys are normed per head, SwiGLU.
//!
//! All of it is row by row but for attention, which reads pages. So the logits of a token
//! are a function of the tokens up to it, of the weights and of the page format, bit for
//! bit, however these tokens came to be computed: in one step or many, alone or in a
//! batch, or by another sequence whose pages are hit.

use crate::attention::{Heads, attend};
use crate::cache::{KvCache, KvScales};
use crate::linear::Linear;
use crate::pages::{PageConfig, PageDtype};
use crate::rows::{Rope, add, rms_norm, swiglu};
use crate::{Error, Shape, Weights, random};
use kvkeep::BlockId;
use kvkeep::budget::PageOrder;

/// Tokens whose K and V the scales of fp8 pages are measured on.
const CALIBRATION_TOKENS: usize = 128;

/// What one sequence computes in a step.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The tokens of the step.
    pub tokens: &'a [u32],
    /// Position of the first one. The KV of all before it is in the pages.
    pub first: usize,
    /// The sequence's blocks, for the tokens of the step as well.
    pub table: &'a [BlockId],
    /// Whether the logits of the last token are wanted.
    pub logits: bool,
}

/// A decoder and its weights.
pub struct Model {
    shape: Shape,
    heads: Heads,
    embedding: Vec<f32>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Linear,
    rope: Rope,
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Vec<f32>,
    key_norm: Vec<f32>,
    output: Linear,
    mlp_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn new(shape: &Shape, weights: &mut Weights, index: usize) -> Result<Self, Error> {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let (hidden, mlp) = (shape.hidden_size, shape.intermediate_size);
        let queries = shape.num_attention_heads * shape.head_dim;
        let keys = shape.num_key_value_heads * shape.head_dim;
        let mut linear = |part: &str, outputs, inputs| {
            Linear::new(&weights.get(&name(part), &[outputs, inputs])?)
        };
        let query = linear("self_attn.q_proj", queries, hidden)?;
        let key = linear("self_attn.k_proj", keys, hidden)?;
        let value = linear("self_attn.v_proj", keys, hidden)?;
        let output = linear("self_attn.o_proj", hidden, queries)?;
        let gate = linear("mlp.gate_proj", mlp, hidden)?;
        let up = linear("mlp.up_proj", mlp, hidden)?;
        let down = linear("mlp.down_proj", hidden, mlp)?;
        let mut norm = |part: &str, size| weights.get_vec(&name(part), &[size]);
        Ok(Layer {
            attention_norm: norm("input_layernorm", hidden)?,
            query_norm: norm("self_attn.q_norm", shape.head_dim)?,
            key_norm: norm("self_attn.k_norm", shape.head_dim)?,
            mlp_norm: norm("post_attention_layernorm", hidden)?,
            query,
            key,
            value,
            output,
            gate,
            up,
            down,
        })
    }
}

impl Model {
    /// Takes the weights of a shape.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Weight`].
    pub fn new(shape: Shape, mut weights: Weights) -> Result<Self, Error> {
        shape.check()?;
        let (vocab, hidden) = (shape.vocab_size, shape.hidden_size);
        let embedding = weights.get("model.embed_tokens.weight", &[vocab, hidden])?;
        let head = if shape.tie_word_embeddings {
            Linear::new(&embedding)?
        } else {
            Linear::new(&weights.get("lm_head.weight", &[vocab, hidden])?)?
        };
        let layers = (0..shape.num_hidden_layers)
            .map(|index| Layer::new(&shape, &mut weights, index))
            .collect::<Result<_, _>>()?;
        Ok(Model {
            heads: Heads {
                kv_heads: shape.num_key_value_heads,
                group_size: shape.group_size(),
                head_dim: shape.head_dim,
            },
            embedding: embedding.flatten_all()?.to_vec1()?,
            layers,
            norm: weights.get_vec("model.norm.weight", &[hidden])?,
            head,
            rope: Rope::new(shape.head_dim, shape.rope_theta),
            shape,
        })
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Computes the KV of a batch's tokens into their pages, and the logits that are
    /// wanted, one entry per segment.
    ///
    /// # Errors
    /// [`Error::UnknownToken`], [`Error::NotFinite`], [`Error::Page`].
    pub fn forward(
        &self,
        cache: &mut KvCache,
        batch: &[Segment<'_>],
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let mut rows = Vec::new();
        let mut turns = Vec::new();
        for segment in batch {
            for (at, &token) in segment.tokens.iter().enumerate() {
                rows.extend_from_slice(self.embed(token)?);
                turns.push(self.rope.at(segment.first + at));
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            self.layer(index, layer, cache, batch, &turns, &mut rows)?;
        }
        self.logits(batch, &rows)
    }

    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        cache: &mut KvCache,
        batch: &[Segment<'_>],
        turns: &[Vec<(f32, f32)>],
        rows: &mut [f32],
    ) -> Result<(), Error> {
        let eps = self.shape.rms_norm_eps;
        let mut normed = rows.to_vec();
        rms_norm(&mut normed, &layer.attention_norm, eps);
        let mut queries = layer.query.forward(&normed)?;
        let mut keys = layer.key.forward(&normed)?;
        let values = layer.value.forward(&normed)?;
        rms_norm(&mut queries, &layer.query_norm, eps);
        rms_norm(&mut keys, &layer.key_norm, eps);
        let kv_row = self.heads.kv_heads * self.heads.head_dim;
        let query_row = kv_row * self.heads.group_size;
        let turned = queries.chunks_exact_mut(query_row).zip(keys.chunks_exact_mut(kv_row));
        for ((query, key), turns) in turned.zip(turns) {
            Rope::turn(query, turns);
            Rope::turn(key, turns);
        }
        let mut written = keys.chunks_exact(kv_row).zip(values.chunks_exact(kv_row));
        for segment in batch {
            let positions = segment.first..segment.first + segment.tokens.len();
            for (position, (key, value)) in positions.zip(&mut written) {
                cache.write(segment.table, index, position, [key, value])?;
            }
        }
        let attended = attend(cache, index, self.heads, batch, &queries)?;
        add(rows, &layer.output.forward(&attended)?);

        normed.copy_from_slice(rows);
        rms_norm(&mut normed, &layer.mlp_norm, eps);
        let mut gate = layer.gate.forward(&normed)?;
        swiglu(&mut gate, &layer.up.forward(&normed)?);
        add(rows, &layer.down.forward(&gate)?);
        Ok(())
    }

    fn embed(&self, token: u32) -> Result<&[f32], Error> {
        let hidden = self.shape.hidden_size;
        self.embedding
            .get(token as usize * hidden..)
            .and_then(|rest| rest.get(..hidden))
            .ok_or(Error::UnknownToken { token, vocab: self.shape.vocab_size })
    }

    fn logits(&self, batch: &[Segment<'_>], rows: &[f32]) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let hidden = self.shape.hidden_size;
        let mut wanted = Vec::new();
        let mut end = 0;
        for segment in batch {
            end += segment.tokens.len() * hidden;
            if segment.logits {
                wanted.extend_from_slice(&rows[end - hidden..end]);
            }
        }
        rms_norm(&mut wanted, &self.norm, self.shape.rms_norm_eps);
        let logits = self.head.forward(&wanted)?;
        let mut logits = logits.chunks_exact(self.shape.vocab_size);
        batch
            .iter()
            .map(|segment| {
                let Some(logits) = segment.logits.then(|| logits.next()).flatten() else {
                    return Ok(None);
                };
                if !logits.iter().all(|logit| logit.is_finite()) {
                    let position = segment.first + segment.tokens.len() - 1;
                    return Err(Error::NotFinite { position });
                }
                Ok(Some(logits.to_vec()))
            })
            .collect()
    }

    /// Measures the scales of fp8 pages on a made-up prompt.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the weights overflow.
    pub fn measure_scales(&self) -> Result<KvScales, Error> {
        let vocab = self.shape.vocab_size as u64;
        let tokens: Vec<u32> =
            (0..CALIBRATION_TOKENS as u64).map(|n| (random::word(0, n) % vocab) as u32).collect();
        let pages = PageConfig {
            num_blocks: 1,
            block_size: CALIBRATION_TOKENS as u32,
            dtype: PageDtype::F32,
            tensor_parallel_size: 1,
            order: PageOrder::BlockMajor,
        };
        let mut cache = KvCache::new(&self.shape, &pages, KvScales::ones(&self.shape))?;
        let table = [BlockId::from(0)];
        let prompt = Segment { tokens: &tokens, first: 0, table: &table, logits: true };
        self.forward(&mut cache, &[prompt])?;
        KvScales::measure(&cache, &self.shape, &table, tokens.len())
    }
}
