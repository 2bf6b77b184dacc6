//! The shape of a model: what a Qwen3 `config.json` says, checked.

use crate::Error;
use serde::Deserialize;
use std::path::Path;

/// Shape of a Qwen3-style decoder.
///
/// Field names are those of Hugging Face's `config.json`; unknown fields are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Shape {
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Elements of the residual stream.
    pub hidden_size: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// KV heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Elements of one head.
    pub head_dim: usize,
    /// Elements of the hidden layer of the feed-forward network.
    pub intermediate_size: usize,
    /// Tokens that the model knows.
    pub vocab_size: usize,
    /// Base of the rotary embedding.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f32,
    /// Added to the mean square in RMSNorm.
    #[serde(default = "default_norm_eps")]
    pub rms_norm_eps: f32,
    /// Whether the embedding serves as the output head as well.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Tokens that end an answer.
    #[serde(default)]
    pub eos_token_id: EndTokens,
}

/// `eos_token_id`: a token, several, or none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum EndTokens {
    /// Answers end at their longest length only.
    #[default]
    None,
    /// One token.
    One(u32),
    /// Any of these.
    Any(Vec<u32>),
}

impl EndTokens {
    /// Whether an answer ends with this token.
    #[must_use]
    pub fn contains(&self, token: u32) -> bool {
        match self {
            Self::None => false,
            Self::One(end) => *end == token,
            Self::Any(ends) => ends.contains(&token),
        }
    }
}

fn default_rope_theta() -> f32 {
    1e6
}

fn default_norm_eps() -> f32 {
    1e-6
}

impl Shape {
    /// What the engine runs unless told otherwise: four layers, bytes as tokens. Small
    /// enough for a laptop, large enough that computing a prompt takes longer than the
    /// rest of a request.
    #[must_use]
    pub fn small() -> Self {
        Shape {
            num_hidden_layers: 4,
            hidden_size: 256,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 32,
            intermediate_size: 768,
            vocab_size: 256,
            rope_theta: default_rope_theta(),
            rms_norm_eps: default_norm_eps(),
            tie_word_embeddings: false,
            eos_token_id: EndTokens::None,
        }
    }

    /// The least that has every part: for tests.
    #[must_use]
    pub fn tiny() -> Self {
        Shape {
            num_hidden_layers: 2,
            hidden_size: 32,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 8,
            intermediate_size: 48,
            vocab_size: 40,
            ..Self::small()
        }
    }

    /// Reads `config.json` from a model's folder.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Json`], [`Error::Shape`].
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("config.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Err(Error::File { path, error }),
        };
        let json = |error| Error::Json { path: path.clone(), error };
        let fields: serde_json::Map<_, _> = serde_json::from_str(&text).map_err(json)?;
        let mut raw = serde_json::Value::Object(fields);
        // Newer files keep the base of the rotary embedding one level down.
        if let Some(theta) = raw.pointer("/rope_parameters/rope_theta").cloned() {
            raw["rope_theta"] = theta;
        }
        if raw["eos_token_id"].is_null() {
            raw["eos_token_id"] = serde_json::json!([]);
        }
        if let Some(unknown) = not_computed(&raw) {
            return Err(json(serde::de::Error::custom(unknown)));
        }
        let shape: Self = serde_json::from_value(raw).map_err(json)?;
        shape.check()?;
        Ok(shape)
    }

    /// Query heads for each KV head.
    #[must_use]
    pub fn group_size(&self) -> usize {
        self.num_attention_heads / self.num_key_value_heads
    }

    /// Checks every field; the bounds also keep all products below 2^60.
    ///
    /// # Errors
    /// [`Error::Shape`] names the first field that breaks a rule.
    pub fn check(&self) -> Result<(), Error> {
        for (field, value, max, rule) in [
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10, "pass 1 to 1024"),
            ("hidden_size", self.hidden_size, 1 << 16, "pass 1 to 65536"),
            ("num_attention_heads", self.num_attention_heads, 1 << 10, "pass 1 to 1024"),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 10, "pass 1 to 1024"),
            ("head_dim", self.head_dim, 1 << 10, "pass an even number up to 1024"),
            ("intermediate_size", self.intermediate_size, 1 << 20, "pass 1 to 1048576"),
            ("vocab_size", self.vocab_size, 1 << 22, "pass 1 to 4194304"),
        ] {
            if !(1..=max).contains(&value) {
                return Err(Error::Shape { field, value, rule });
            }
        }
        if !self.head_dim.is_multiple_of(2) {
            let rule = "rotary embedding takes pairs; pass an even number";
            return Err(Error::Shape { field: "head_dim", value: self.head_dim, rule });
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(Error::Shape {
                field: "num_key_value_heads",
                value: self.num_key_value_heads,
                rule: "it must divide num_attention_heads",
            });
        }
        Ok(())
    }
}

/// What would change the logits and is not computed here.
fn not_computed(raw: &serde_json::Value) -> Option<&'static str> {
    let is_true = |field: &str| raw[field] == true;
    let rope_type = raw.pointer("/rope_parameters/rope_type");
    if !raw["rope_scaling"].is_null() || rope_type.is_some_and(|kind| kind != "default") {
        return Some("this engine does not scale rotary embeddings");
    }
    if is_true("attention_bias") {
        return Some("this engine has no biases in attention");
    }
    is_true("use_sliding_window").then_some("this engine has no sliding windows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Shape, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        Shape::read(folder.path())
    }

    const FIELDS: &str = r#""num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "vocab_size": 40"#;

    #[test]
    fn old_and_new_files_are_read() {
        let old = read(&format!(r#"{{{FIELDS}, "rope_theta": 5e3, "eos_token_id": 7}}"#)).unwrap();
        assert_eq!(old.rope_theta, 5e3);
        assert!(old.eos_token_id.contains(7) && !old.eos_token_id.contains(8));
        let new = format!(
            r#"{{{FIELDS}, "rope_parameters": {{"rope_theta": 5e3}}, "eos_token_id": [7, 9]}}"#
        );
        let new = read(&new).unwrap();
        assert_eq!(new.rope_theta, 5e3);
        assert!(new.eos_token_id.contains(9));
        let none = read(&format!(r#"{{{FIELDS}, "eos_token_id": null}}"#)).unwrap();
        assert!(!none.eos_token_id.contains(0));
        assert_eq!(none.rope_theta, 1e6);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for no_object in ["{", "", "[]", "7", "null"] {
            assert!(matches!(read(no_object), Err(Error::Json { .. })), "{no_object}");
        }
        let error = read("{}").unwrap_err().to_string();
        assert!(error.contains("num_hidden_layers"), "{error}");
        for (field, value) in [
            ("rope_scaling", r#"{"type": "yarn"}"#),
            ("rope_parameters", r#"{"rope_type": "yarn"}"#),
            ("attention_bias", "true"),
            ("use_sliding_window", "true"),
        ] {
            let error = read(&format!(r#"{{{FIELDS}, "{field}": {value}}}"#)).unwrap_err();
            assert!(error.to_string().contains("this engine"), "{error}");
        }
        for (field, value) in [
            ("num_hidden_layers", 0),
            ("head_dim", 7),
            ("num_key_value_heads", 3),
            ("vocab_size", 1 << 23),
        ] {
            let mut json: serde_json::Value =
                serde_json::from_str(&format!("{{{FIELDS}}}")).unwrap();
            json[field] = value.into();
            let error = read(&json.to_string()).unwrap_err();
            assert!(
                matches!(error, Error::Shape { field: named, .. } if named == field),
                "{error}"
            );
        }
    }
}
