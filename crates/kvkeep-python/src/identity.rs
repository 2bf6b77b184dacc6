//! What a sequence's KV depends on besides its tokens.

use crate::errors::Raise;
use pyo3::prelude::*;

/// Everything but the tokens that the KV of a sequence depends on.
///
/// Two sequences share blocks only where their identities agree.
///
/// Args:
///     salt: isolates the sequence among those with the same salt: a tenant, a user.
///     adapter: name of the adapter (LoRA) and where its weights come from.
///     media: (identifier, start, end) of each media item: a name of its content, and the
///         range of its placeholder tokens. At most 1,024.
///     custom: (name, value) of anything else, in an order that counts. At most 16.
///
/// Raises:
///     IdentityError: a field has more than 1,024 bytes, there are too many, or media items
///         overlap.
#[pyclass(frozen, eq, module = "kvkeep")]
#[derive(PartialEq)]
pub(crate) struct Identity(pub(crate) kvkeep::Identity);

#[pymethods]
impl Identity {
    #[new]
    #[pyo3(signature = (*, salt=None, adapter=None, media=Vec::new(), custom=Vec::new()))]
    fn new(
        salt: Option<&str>,
        adapter: Option<(String, String)>,
        media: Vec<(String, usize, usize)>,
        custom: Vec<(String, Vec<u8>)>,
    ) -> PyResult<Self> {
        let build = || {
            let mut identity = kvkeep::Identity::new();
            if let Some(salt) = salt {
                identity = identity.salt(salt)?;
            }
            if let Some((name, source)) = &adapter {
                identity = identity.adapter(name, source)?;
            }
            for (identifier, start, end) in &media {
                identity = identity.media(identifier, *start..*end)?;
            }
            for (name, value) in &custom {
                identity = identity.custom(name, value)?;
            }
            Ok(identity)
        };
        build().map(Identity).map_err(kvkeep::IdentityError::raise)
    }

    fn __repr__(&self) -> String {
        // It keeps the salt back.
        format!("{:?}", self.0)
    }
}

/// Adds this file's names.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Identity>()
}
