//! Model families and the tool-call parsers that read their output.

/// Models that share a chat format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Qwen3,
    Qwen3Coder,
    Qwen2,
    Llama3,
    Mistral,
    DeepSeekV3,
    KimiK2,
    Glm45,
    /// No opinion about its parsers.
    Other,
}

impl Family {
    /// The family's name as people write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "Qwen3",
            Self::Qwen3Coder => "Qwen3-Coder",
            Self::Qwen2 => "Qwen2.5",
            Self::Llama3 => "Llama 3",
            Self::Mistral => "Mistral",
            Self::DeepSeekV3 => "DeepSeek-V3",
            Self::KimiK2 => "Kimi K2",
            Self::Glm45 => "GLM-4.5",
            Self::Other => "this model",
        }
    }

    /// vLLM's parsers for the family, the usual one first.
    const fn tool_call_parsers(self) -> &'static [&'static str] {
        match self {
            Self::Qwen3 => &["qwen3"],
            Self::Qwen3Coder => &["qwen3_coder", "qwen3_xml"],
            Self::Qwen2 => &["hermes"],
            Self::Llama3 => &["llama3_json", "pythonic"],
            Self::Mistral => &["mistral"],
            Self::DeepSeekV3 => &["deepseek_v3", "deepseek_v31", "deepseek_v32"],
            Self::KimiK2 => &["kimi_k2"],
            Self::Glm45 => &["glm45"],
            Self::Other => &[],
        }
    }

    /// What to say about `--tool-call-parser`; `None` if it fits, or nothing is known.
    pub(crate) fn parser_remark(self, parser: &str) -> Option<String> {
        let fitting = self.tool_call_parsers();
        let first = fitting.first()?;
        if fitting.contains(&parser) {
            return None;
        }
        let mut remark = format!(
            "--tool-call-parser {parser} does not fit {}; use --tool-call-parser {first}",
            self.name()
        );
        if fitting.len() > 1 {
            remark.push_str(&format!(" (or {})", fitting[1..].join(", ")));
        }
        if self == Self::Qwen3 {
            // Upstream vLLM registers no parser of that name; images and plugins add it.
            remark.push_str(" (hermes where your vLLM does not list qwen3)");
        }
        Some(remark)
    }

    /// The family of a `model_type` in a config.json.
    ///
    /// `llama` and `mistral` are none: too many fine-tunes with formats of their own share
    /// these types.
    pub(crate) fn from_model_type(model_type: &str) -> Self {
        match model_type {
            "qwen3" | "qwen3_moe" => Self::Qwen3,
            "qwen2" | "qwen2_moe" => Self::Qwen2,
            "deepseek_v3" => Self::DeepSeekV3,
            "kimi_k2" => Self::KimiK2,
            "glm4_moe" => Self::Glm45,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_of_another_family_is_pointed_out() {
        let remark = Family::Qwen3.parser_remark("hermes").expect("hermes on Qwen3");
        assert!(remark.contains("use --tool-call-parser qwen3"), "{remark}");
        // Qwen3-Coder writes XML, Qwen3 JSON.
        assert!(Family::Qwen3.parser_remark("qwen3_coder").is_some());
        assert!(Family::Qwen3Coder.parser_remark("qwen3_coder").is_none());
        let remark = Family::Llama3.parser_remark("mistral").expect("mistral on Llama 3");
        assert!(remark.contains("llama3_json"), "{remark}");
    }

    #[test]
    fn a_fitting_parser_and_an_unknown_family_pass() {
        assert_eq!(Family::Qwen3.parser_remark("qwen3"), None);
        assert_eq!(Family::Qwen2.parser_remark("hermes"), None);
        assert_eq!(Family::Other.parser_remark("hermes"), None);
    }
}
