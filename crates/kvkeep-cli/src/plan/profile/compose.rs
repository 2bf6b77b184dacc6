//! The command line in a Docker Compose file.

use super::words;
use serde_yaml_ng::{Mapping, Value};

/// The words that a service runs: its entrypoint, then its command.
pub(super) fn command(text: &str, wanted: Option<&str>) -> Result<Vec<String>, String> {
    let mut file: Value =
        serde_yaml_ng::from_str(text).map_err(|error| format!("not YAML: {error}"))?;
    file.apply_merge().map_err(|error| format!("not YAML: {error}"))?;
    let services = file
        .get("services")
        .and_then(Value::as_mapping)
        .ok_or("there is no `services:`; is this a Docker Compose file?")?;
    let service = pick(services, wanted)?;
    let mut all = service_words(service, "entrypoint")?;
    all.extend(service_words(service, "command")?);
    Ok(all)
}

fn pick<'a>(services: &'a Mapping, wanted: Option<&str>) -> Result<&'a Value, String> {
    let names = |services: &[(&str, &Value)]| {
        services.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<(&str, &Value)> =
        services.iter().filter_map(|(name, service)| Some((name.as_str()?, service))).collect();
    if let Some(wanted) = wanted {
        return all
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, service)| *service)
            .ok_or_else(|| format!("there is no service {wanted}; there are {}", names(&all)));
    }
    let vllm: Vec<_> = all.iter().copied().filter(|(_, service)| runs_vllm(service)).collect();
    match vllm.as_slice() {
        [(_, service)] => Ok(service),
        [] => Err(format!(
            "no service runs vLLM (there are {}); pick one with --service",
            names(&all)
        )),
        several => {
            Err(format!("several services run vLLM; pick one with --service: {}", names(several)))
        }
    }
}

fn runs_vllm(service: &Value) -> bool {
    let image = service.get("image").and_then(Value::as_str).unwrap_or_default();
    // The image's name without registry and tag: vllm/vllm-openai.
    image.contains("vllm")
        || ["entrypoint", "command"].iter().any(|key| {
            let mentions = |value: &Value| {
                value.as_str().is_some_and(|text| {
                    text.split_whitespace().any(|word| {
                        words::is_vllm(word) || word == "vllm.entrypoints.openai.api_server"
                    })
                })
            };
            match service.get(*key) {
                Some(Value::Sequence(items)) => items.iter().any(mentions),
                Some(value) => mentions(value),
                None => false,
            }
        })
}

/// `command:` is one string for a shell to split, or a list of words.
fn service_words(service: &Value, key: &str) -> Result<Vec<String>, String> {
    match service.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => words::split(&words::interpolate(text)?),
        Some(Value::Sequence(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => words::interpolate(text),
                Value::Number(number) => Ok(number.to_string()),
                Value::Bool(value) => Ok(value.to_string()),
                _ => Err(format!("`{key}:` holds something that is no word")),
            })
            .collect(),
        Some(_) => Err(format!("`{key}:` is neither a string nor a list")),
    }
}
