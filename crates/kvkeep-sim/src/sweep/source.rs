//! Which trace a sweep reads: the one that is named, or a made-up one.

use crate::trace::{
    self, DEFAULT_USERS, Format, Generate, GenerateOptions, OpenOptions, Opened, Request, Source,
    TraceError,
};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// A trace to read, with its name.
pub struct Named {
    /// What a report calls it.
    pub name: String,
    /// Its requests.
    pub source: Box<dyn Source<Error = TraceError>>,
}

impl Named {
    /// Opens a trace that says which prompts share a prefix, as [`trace::open`] does; without
    /// a path a made-up one.
    ///
    /// # Errors
    /// As there, or nothing can hit.
    pub fn open(paths: &[PathBuf], options: &OpenOptions) -> Result<Named, TraceError> {
        let name = match paths {
            [] => return made_up(),
            [one] if one.as_os_str() == "-" => "stdin".to_owned(),
            [one] => one.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        };
        let Opened { format, source } = trace::open(paths, options)?;
        if !format.has_prefixes() {
            let why = format!(
                "{format} traces do not say which prompts share a prefix, so nothing hits; choose \
                 another trace"
            );
            return Err(TraceError::Unsuitable { name, why });
        }
        // The same sessions of more users are another trace.
        let users = options.users.map_or(DEFAULT_USERS, NonZeroU32::get);
        let name = match format {
            Format::Agentic => format!("{name}, {users} users"),
            _ => name,
        };
        Ok(Named { name, source })
    }
}

fn made_up() -> Result<Named, TraceError> {
    let options = GenerateOptions::default();
    let name = format!("made up, seed {}", options.seed);
    let source = Generate::new(options)
        .map_err(|error| TraceError::Unsuitable { name: name.clone(), why: error.to_string() })?;
    Ok(Named { name, source: Box::new(MadeUp(source)) })
}

/// A made-up trace, which has no errors.
struct MadeUp(Generate);

impl Source for MadeUp {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        self.0.read_next(request).map_err(|never| match never {})
    }

    fn fraction_read(&self) -> Option<f64> {
        self.0.fraction_read()
    }
}
