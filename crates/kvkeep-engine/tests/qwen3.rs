//! The decoder against Hugging Face's: a tiny Qwen3 from a folder of safetensors has the
//! logits that transformers computed (`data/make_qwen3.py`).

use kvkeep::BlockId;
use kvkeep::budget::PageOrder;
use kvkeep_engine::{
    Error, KvCache, KvScales, Model, PageConfig, PageDtype, Segment, Shape, Weights,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    logits: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/qwen3")
}

#[test]
fn logits_are_those_of_transformers() {
    let shape = Shape::read(&folder()).unwrap();
    assert!(shape.eos_token_id.contains(3));
    let model = Model::new(shape, Weights::read(&folder()).unwrap()).unwrap();
    let expected = std::fs::read(folder().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let pages = PageConfig {
        num_blocks: 4,
        block_size: 4,
        dtype: PageDtype::F32,
        tensor_parallel_size: 2,
        order: PageOrder::BlockFirst,
    };
    let mut cache = KvCache::new(model.shape(), &pages, KvScales::ones(model.shape())).unwrap();
    let table = [3, 1, 2, 0].map(BlockId::from);
    let mut largest = 0_f32;
    for (first, logits) in expected.logits.iter().enumerate() {
        let tokens = &expected.prompt[first..=first];
        let segment = Segment { tokens, first, table: &table, logits: true };
        let found = model.forward(&mut cache, &[segment]).unwrap().remove(0).unwrap();
        for (found, expected) in found.iter().zip(logits) {
            largest = largest.max((found - expected).abs());
        }
    }
    println!("largest difference of {} logits: {largest:e}", 14 * 24);
    assert!(largest < 1e-5, "{largest}");
}

#[test]
fn weights_of_another_shape_are_refused() {
    let mut shape = Shape::read(&folder()).unwrap();
    shape.num_hidden_layers = 3;
    let weights = Weights::read(&folder()).unwrap();
    let error = Model::new(shape.clone(), weights).err().unwrap().to_string();
    assert!(error.contains("no tensor model.layers.2."), "{error}");
    (shape.num_hidden_layers, shape.intermediate_size) = (2, 25);
    let error = Model::new(shape, Weights::read(&folder()).unwrap()).err().unwrap();
    assert!(matches!(error, Error::Weight { found: Some(_), .. }), "{error}");
    assert!(matches!(Weights::read(Path::new("/nowhere")), Err(Error::File { .. })));
}
