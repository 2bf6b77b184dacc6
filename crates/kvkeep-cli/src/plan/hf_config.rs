//! The KV shape of a model from its Hugging Face `config.json`.

use super::ModelSpec;
use super::family::Family;
use crate::error::Error;
use kvkeep::budget::{Attention, KvDtype};
use serde_json::Value;
use std::path::Path;

/// Reads a `config.json`, or the one in a folder.
pub(super) fn read(path: &Path) -> Result<ModelSpec, Error> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Error::Input(format!("cannot read {shown}: {error}")))?;
    let config: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Input(format!("{shown} is not JSON: {error}")))?;
    parse(&config, &shown).map_err(|problem| Error::Input(format!("{shown}: {problem}")))
}

fn parse(config: &Value, name: &str) -> Result<ModelSpec, String> {
    // Models with image or audio encoders keep the language model one level down.
    let text = config.get("text_config").filter(|value| value.is_object()).unwrap_or(config);
    let layers = required(text, "num_hidden_layers")?;
    let attention = match optional(text, "kv_lora_rank")? {
        Some(latent_size) => {
            Attention::Latent { latent_size, rope_size: required(text, "qk_rope_head_dim")? }
        }
        None => grouped(text)?,
    };
    let model_type = text.get("model_type").or_else(|| config.get("model_type"));
    Ok(ModelSpec {
        name: name.to_owned(),
        family: Family::from_model_type(model_type.and_then(Value::as_str).unwrap_or_default()),
        layers,
        attention,
        dtype: dtype(text).or_else(|| dtype(config)),
        warnings: warnings(text),
    })
}

fn grouped(text: &Value) -> Result<Attention, String> {
    let heads = required(text, "num_attention_heads")?;
    let kv_heads = optional(text, "num_key_value_heads")?.unwrap_or(heads);
    let head_size = match optional(text, "head_dim")? {
        Some(head_size) => head_size,
        None => {
            let hidden = required(text, "hidden_size")?;
            if heads == 0 || !hidden.is_multiple_of(heads) {
                return Err(format!(
                    "there is no head_dim, and hidden_size {hidden} is no multiple of \
                     num_attention_heads {heads}"
                ));
            }
            hidden / heads
        }
    };
    Ok(Attention::Grouped { kv_heads, head_size })
}

fn required(config: &Value, key: &str) -> Result<u32, String> {
    optional(config, key)?.ok_or_else(|| format!("there is no {key}"))
}

/// A missing key and `null` are the same in these files.
fn optional(config: &Value, key: &str) -> Result<Option<u32>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| format!("{key} is {value}, not a whole number below 2^32")),
    }
}

/// vLLM runs float32 models with a 16-bit cache, so float32 reads as float16 here too.
fn dtype(config: &Value) -> Option<KvDtype> {
    let name = config.get("torch_dtype").or_else(|| config.get("dtype"))?.as_str()?;
    match name {
        "float32" => Some(KvDtype::Fp16),
        _ => name.parse().ok(),
    }
}

/// Layers that keep less than full attention would.
fn warnings(text: &Value) -> Vec<String> {
    let upper_bound = "the plan treats every layer as full attention, so its bytes per token are \
                       an upper bound";
    if let Some(types) = text.get("layer_types").and_then(Value::as_array) {
        let other = types.iter().filter(|kind| kind.as_str() != Some("full_attention")).count();
        if other > 0 {
            return vec![format!(
                "{other} of {} layers are not full attention; {upper_bound}",
                types.len()
            )];
        }
        return Vec::new();
    }
    let window = text.get("sliding_window").and_then(Value::as_u64);
    // Qwen2 configs name a window and switch it off.
    let switched_off = text.get("use_sliding_window").and_then(Value::as_bool) == Some(false);
    match window {
        Some(window) if !switched_off => {
            vec![format!("the model has a sliding window of {window} tokens; {upper_bound}")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn grouped_attention_with_and_without_head_dim() {
        let mut config = json!({
            "model_type": "qwen3", "num_hidden_layers": 64, "num_attention_heads": 64,
            "num_key_value_heads": 8, "head_dim": 128, "hidden_size": 5120,
            "torch_dtype": "bfloat16", "sliding_window": null, "use_sliding_window": false,
        });
        let model = parse(&config, "x").expect("valid");
        assert_eq!(model.attention, Attention::Grouped { kv_heads: 8, head_size: 128 });
        assert_eq!((model.layers, model.family), (64, Family::Qwen3));
        assert_eq!(model.dtype, Some(KvDtype::Bf16));
        assert!(model.warnings.is_empty());
        config["head_dim"] = Value::Null;
        let model = parse(&config, "x").expect("valid");
        assert_eq!(model.attention, Attention::Grouped { kv_heads: 8, head_size: 80 });
    }

    #[test]
    fn nested_text_config_and_new_dtype_key() {
        let config = json!({ "dtype": "float16", "text_config": {
            "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64,
            "sliding_window": 1024,
        }});
        let model = parse(&config, "x").expect("valid");
        assert_eq!(model.attention, Attention::Grouped { kv_heads: 4, head_size: 16 });
        assert_eq!(model.dtype, Some(KvDtype::Fp16));
        assert!(model.warnings[0].contains("upper bound"));
    }

    #[test]
    fn latent_attention() {
        let config = json!({ "model_type": "deepseek_v3", "num_hidden_layers": 61,
            "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64 });
        let model = parse(&config, "x").expect("valid");
        assert_eq!(model.attention, Attention::Latent { latent_size: 512, rope_size: 64 });
    }

    #[test]
    fn hybrid_layers_are_warned_about() {
        let config = json!({ "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64,
            "layer_types": ["sliding_attention", "full_attention"] });
        assert!(parse(&config, "x").expect("valid").warnings[0].starts_with("1 of 2 layers"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = parse(&json!({ "num_hidden_layers": 2 }), "x").expect_err("no heads");
        assert!(error.contains("num_attention_heads"), "{error}");
        let error = parse(&json!({ "num_hidden_layers": -1 }), "x").expect_err("negative");
        assert!(error.contains("num_hidden_layers is -1"), "{error}");
    }
}
