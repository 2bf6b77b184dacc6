//! The KV shapes of well-known models, so that a plan needs no config.json.
//!
//! Figures are those of the models' published config.json files. Models whose layers do not
//! all keep full attention are left out: a preset must give exact bytes.

use super::ModelSpec;
use super::family::Family;
use kvkeep::budget::{Attention, KvDtype};

/// One entry of the table.
struct Preset {
    name: &'static str,
    family: Family,
    layers: u32,
    attention: Attention,
}

const fn grouped(
    name: &'static str,
    family: Family,
    layers: u32,
    kv_heads: u32,
    head_size: u32,
) -> Preset {
    Preset { name, family, layers, attention: Attention::Grouped { kv_heads, head_size } }
}

/// The MLA shape that DeepSeek's models and their relatives share.
const fn latent(name: &'static str, family: Family, layers: u32) -> Preset {
    Preset {
        name,
        family,
        layers,
        attention: Attention::Latent { latent_size: 512, rope_size: 64 },
    }
}

use Family::{DeepSeekV3, Glm45, KimiK2, Llama3, Mistral, Qwen2, Qwen3, Qwen3Coder};

const PRESETS: &[Preset] = &[
    grouped("qwen3-32b", Qwen3, 64, 8, 128),
    grouped("qwen3-0.6b", Qwen3, 28, 8, 128),
    grouped("qwen3-1.7b", Qwen3, 28, 8, 128),
    grouped("qwen3-4b", Qwen3, 36, 8, 128),
    grouped("qwen3-8b", Qwen3, 36, 8, 128),
    grouped("qwen3-14b", Qwen3, 40, 8, 128),
    grouped("qwen3-30b-a3b", Qwen3, 48, 4, 128),
    grouped("qwen3-235b-a22b", Qwen3, 94, 4, 128),
    grouped("qwen3-coder-30b-a3b", Qwen3Coder, 48, 4, 128),
    grouped("qwen3-coder-480b-a35b", Qwen3Coder, 62, 8, 128),
    grouped("qwen2.5-7b", Qwen2, 28, 4, 128),
    grouped("qwen2.5-14b", Qwen2, 48, 8, 128),
    grouped("qwen2.5-32b", Qwen2, 64, 8, 128),
    grouped("qwen2.5-72b", Qwen2, 80, 8, 128),
    grouped("llama-3.1-8b", Llama3, 32, 8, 128),
    grouped("llama-3.1-70b", Llama3, 80, 8, 128),
    grouped("llama-3.1-405b", Llama3, 126, 8, 128),
    grouped("llama-3.2-1b", Llama3, 16, 8, 64),
    grouped("llama-3.2-3b", Llama3, 28, 8, 128),
    grouped("llama-3.3-70b", Llama3, 80, 8, 128),
    grouped("mistral-7b-v0.3", Mistral, 32, 8, 128),
    grouped("mistral-7b-instruct-v0.3", Mistral, 32, 8, 128),
    grouped("mistral-nemo", Mistral, 40, 8, 128),
    grouped("mistral-small-24b", Mistral, 40, 8, 128),
    grouped("mixtral-8x7b", Mistral, 32, 8, 128),
    grouped("mixtral-8x22b", Mistral, 56, 8, 128),
    grouped("glm-4.5", Glm45, 92, 8, 128),
    grouped("glm-4.5-air", Glm45, 46, 8, 128),
    latent("deepseek-v3", DeepSeekV3, 61),
    latent("deepseek-v3.1", DeepSeekV3, 61),
    latent("deepseek-r1", DeepSeekV3, 61),
    latent("deepseek-v2-lite", Family::Other, 27),
    latent("kimi-k2", KimiK2, 61),
];

/// What may follow a preset's name in a model id without changing the KV shape. Anything else
/// ("-distill-llama-70b") makes it another model.
const VARIANTS: &[&str] = &[
    "awq",
    "gptq",
    "int4",
    "int8",
    "fp8",
    "bf16",
    "nvfp4",
    "mxfp4",
    "w4a16",
    "w8a8",
    "4bit",
    "8bit",
    "dynamic",
    "quantized",
    "marlin",
    "bnb",
    "gguf",
    "instruct",
    "chat",
    "base",
    "thinking",
    "hf",
    "it",
    "v0.1",
];

/// The preset that `name` means: a preset's own name, or a model id such as
/// `Qwen/Qwen3-32B-AWQ`.
pub(super) fn find(name: &str) -> Option<ModelSpec> {
    let id = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let id = id.strip_prefix("meta-").unwrap_or(&id);
    let preset = PRESETS
        .iter()
        .filter(|preset| is_variant(id, preset.name))
        .max_by_key(|preset| preset.name.len())?;
    Some(ModelSpec {
        name: preset.name.to_owned(),
        family: preset.family,
        layers: preset.layers,
        attention: preset.attention,
        dtype: Some(KvDtype::Bf16),
        warnings: Vec::new(),
    })
}

fn is_variant(id: &str, name: &str) -> bool {
    match id.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|rest| {
            rest.split('-').all(|word| {
                // Release dates: 2507, 0528.
                let is_date = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
                is_date || VARIANTS.contains(&word)
            })
        }),
        None => false,
    }
}

/// The presets whose name is most like `name`.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let id = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let similarity = |preset: &Preset| strsim::jaro_winkler(&id, preset.name);
    PRESETS
        .iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|preset| similarity(preset) > 0.8)
        .map(|preset| preset.name)
}

/// All names, for the help.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Option<String> {
        find(name).map(|model| model.name)
    }

    #[test]
    fn model_ids_map_to_presets() {
        for (id, preset) in [
            ("qwen3-32b", "qwen3-32b"),
            ("Qwen/Qwen3-32B-AWQ", "qwen3-32b"),
            ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3-30b-a3b"),
            ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
            ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
            ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
            ("zai-org/GLM-4.5-Air-FP8", "glm-4.5-air"),
        ] {
            assert_eq!(found(id).as_deref(), Some(preset), "{id}");
        }
    }

    #[test]
    fn other_models_do_not() {
        for id in [
            "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
            "Qwen/Qwen3-VL-32B",
            "Qwen/Qwen3-32",
            "mistralai/Mistral-7B-v0.1",
            "",
        ] {
            assert_eq!(found(id), None, "{id}");
        }
        assert_eq!(nearest("qwen3-33b"), Some("qwen3-32b"));
    }
}
