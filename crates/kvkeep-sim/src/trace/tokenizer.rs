//! Text to token ids, by a `tokenizer.json`: the optional feature `tokenizers`.

use super::TraceError;
use std::path::Path;

/// Turns text into token ids, or says why it cannot.
pub type Encode = Box<dyn Fn(&str) -> Result<Vec<u32>, String>>;

/// Loads a `tokenizer.json`. Special tokens are not added.
#[cfg(feature = "tokenizers")]
pub(super) fn load(path: &Path) -> Result<Encode, TraceError> {
    let tokenizer = tokenizers::Tokenizer::from_file(path).map_err(|error| {
        let why = format!("cannot be loaded as a tokenizer.json: {error}");
        TraceError::Unsuitable { name: path.display().to_string(), why }
    })?;
    Ok(Box::new(move |text| match tokenizer.encode(text, false) {
        Ok(encoding) => Ok(encoding.get_ids().to_vec()),
        Err(error) => Err(error.to_string()),
    }))
}

/// Says what is missing.
#[cfg(not(feature = "tokenizers"))]
pub(super) fn load(path: &Path) -> Result<Encode, TraceError> {
    Err(TraceError::Unsuitable {
        name: path.display().to_string(),
        why: "this build cannot tokenize text; build kvkeep with the feature `tokenizers`".into(),
    })
}
