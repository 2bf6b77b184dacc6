//! Which trace a sweep reads: the one that is named, or a made-up one.

use crate::{
    error::Error,
    trace_options::{TraceOptions, say_that_stdin_is_not_read},
};
use kvkeep_sim::trace::{Format, Generate, GenerateOptions, Request, Source};
use std::path::PathBuf;

/// A trace to read, with its name for the report and its errors as the command's.
pub(super) struct Named {
    pub(super) name: String,
    source: Box<dyn Source<Error = Error>>,
}

/// Opens the trace.
pub(super) fn open(paths: &[PathBuf], options: &TraceOptions) -> Result<Named, Error> {
    let name = match paths {
        [] => {
            say_that_stdin_is_not_read();
            return made_up();
        }
        [one] if one.as_os_str() == "-" => "stdin".to_owned(),
        [one] => one.display().to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
    };
    let source = options.open(paths).map_err(|error| Error::Input(error.to_string()))?;
    if !source.format().has_prefixes() {
        return Err(Error::Input(format!(
            "{name}: {} traces do not say which prompts share a prefix, so nothing hits; choose \
             another trace",
            source.format()
        )));
    }
    // The same sessions of more users are another trace.
    let name = match source.format() {
        Format::Agentic => format!("{name}, {} users", options.users()),
        _ => name,
    };
    Ok(Named { name, source: Box::new(AsCommand(source)) })
}

fn made_up() -> Result<Named, Error> {
    let options = GenerateOptions::default();
    let name = format!("made up, seed {}", options.seed);
    let source = Generate::new(options).map_err(|error| Error::Input(error.to_string()))?;
    Ok(Named { name, source: Box::new(AsCommand(source)) })
}

impl Source for Named {
    type Error = Error;

    fn block_size(&self) -> u32 {
        self.source.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Error> {
        self.source.read_next(request)
    }

    fn fraction_read(&self) -> Option<f64> {
        self.source.fraction_read()
    }
}

/// A source whose errors are the command's.
struct AsCommand<S>(S);

impl<S: Source> Source for AsCommand<S> {
    type Error = Error;

    fn block_size(&self) -> u32 {
        self.0.block_size()
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, Error> {
        self.0.read_next(request).map_err(|error| Error::Input(error.to_string()))
    }

    fn fraction_read(&self) -> Option<f64> {
        self.0.fraction_read()
    }
}
