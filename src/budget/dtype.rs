//! The element types of a KV cache, their sizes and vLLM's names for them.

use std::fmt;
use std::str::FromStr;

/// Element type of the KV cache.
///
/// Names are vLLM's: `fp8` means `fp8_e4m3`.
///
/// ```
/// use kvkeep::budget::KvDtype;
///
/// let dtype: KvDtype = "fp8".parse()?;
/// assert_eq!(dtype, KvDtype::Fp8E4m3);
/// assert_eq!(dtype.to_string(), "fp8_e4m3");
/// assert_eq!(dtype.element_bytes(), 1);
/// # Ok::<(), kvkeep::budget::ParseKvDtypeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvDtype {
    /// 8-bit float, 4 exponent and 3 mantissa bits. One scale per tensor.
    Fp8E4m3,
    /// 8-bit float, 5 exponent and 2 mantissa bits. One scale per tensor.
    Fp8E5m2,
    /// bfloat16. No scales.
    Bf16,
    /// IEEE half precision. No scales.
    Fp16,
    /// 8-bit integer, with one `f32` scale per token and KV head, for K and V each.
    Int8,
}

impl KvDtype {
    /// Bytes of one element, scales not included.
    #[must_use]
    pub const fn element_bytes(self) -> u32 {
        match self {
            Self::Fp8E4m3 | Self::Fp8E5m2 | Self::Int8 => 1,
            Self::Bf16 | Self::Fp16 => 2,
        }
    }

    /// Bytes of scale that each cached vector carries (the K or the V of one token and one
    /// KV head, or the latent vector of one token).
    ///
    /// The fp8 types are 0 as in vLLM: their scales are per tensor, so they belong to the
    /// weights and no block grows by them.
    ///
    /// ```
    /// use kvkeep::budget::KvDtype;
    ///
    /// assert_eq!(KvDtype::Int8.scale_bytes_per_vector(), 4);
    /// assert_eq!(KvDtype::Fp8E4m3.scale_bytes_per_vector(), 0);
    /// ```
    #[must_use]
    pub const fn scale_bytes_per_vector(self) -> u32 {
        match self {
            Self::Int8 => 4,
            Self::Fp8E4m3 | Self::Fp8E5m2 | Self::Bf16 | Self::Fp16 => 0,
        }
    }
}

impl fmt::Display for KvDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fp8E4m3 => "fp8_e4m3",
            Self::Fp8E5m2 => "fp8_e5m2",
            Self::Bf16 => "bfloat16",
            Self::Fp16 => "float16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for KvDtype {
    type Err = ParseKvDtypeError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "fp8" | "fp8_e4m3" => Ok(Self::Fp8E4m3),
            "fp8_e5m2" => Ok(Self::Fp8E5m2),
            "bfloat16" | "bf16" => Ok(Self::Bf16),
            "float16" | "fp16" | "half" => Ok(Self::Fp16),
            "int8" => Ok(Self::Int8),
            _ => Err(ParseKvDtypeError { name: name.to_owned() }),
        }
    }
}

/// A name that is no [`KvDtype`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKvDtypeError {
    name: String,
}

impl fmt::Display for ParseKvDtypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown KV cache dtype {:?}; use one of fp8, fp8_e4m3, fp8_e5m2, bfloat16, \
             float16, int8",
            self.name
        )
    }
}

impl std::error::Error for ParseKvDtypeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_display_name_parses_back() {
        for dtype in
            [KvDtype::Fp8E4m3, KvDtype::Fp8E5m2, KvDtype::Bf16, KvDtype::Fp16, KvDtype::Int8]
        {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
        }
    }

    #[test]
    fn vllm_spellings() {
        for (name, dtype) in [
            ("fp8", KvDtype::Fp8E4m3),
            ("bf16", KvDtype::Bf16),
            ("half", KvDtype::Fp16),
            ("fp16", KvDtype::Fp16),
        ] {
            assert_eq!(name.parse(), Ok(dtype));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "FP8", "fp8_e3m4", "auto", "float32"] {
            let error = name.parse::<KvDtype>().expect_err(name);
            assert!(error.to_string().contains("fp8_e4m3"), "{error}");
        }
    }
}
