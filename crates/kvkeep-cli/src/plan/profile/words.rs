//! From text to the words of a vLLM command line.

/// Replaces `${NAME:-default}` and `${NAME-default}` by the default, and `$$` by `$`.
///
/// The environment is not read: a plan must not depend on where it is made. A variable
/// without a default is an error.
pub(super) fn interpolate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing_brace(after).ok_or("a ${ is not closed")?;
            out.push_str(&default_of(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            if end > 0 {
                return Err(no_default(&rest[..end]));
            }
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that was opened just before `text` closes; defaults may nest.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn default_of(expression: &str) -> Result<String, String> {
    let (name, default) = expression.split_once('-').ok_or_else(|| no_default(expression))?;
    let name = name.strip_suffix(':').unwrap_or(name);
    // `${NAME:?a-b}` and the like split inside their message.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(no_default(expression));
    }
    interpolate(default)
}

fn no_default(expression: &str) -> String {
    let name: String =
        expression.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("variable {name} has no default; write ${{{name}:-value}} or put the value in")
}

/// Splits text as a POSIX shell would: quotes, backslashes, comments.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    // Editors on Windows leave a carriage return between the backslash and the line's end.
    let joined = text.replace("\r\n", "\n").replace("\\\n", " ");
    shlex::split(&joined).ok_or_else(|| "a quote is not closed".to_owned())
}

/// The words that follow `vllm serve`, or all of them if the image starts vLLM by itself.
/// Looks into `bash -c '...'` and stops at the end of the command.
pub(super) fn after_serve(words: &[String]) -> Result<Vec<String>, String> {
    if let Some(script) = shell_script(words) {
        return after_serve(&split(script)?);
    }
    let serve = words.windows(2).position(|pair| is_vllm(&pair[0]) && pair[1] == "serve");
    let module = words.iter().position(|word| word == "vllm.entrypoints.openai.api_server");
    let start = match (serve, module) {
        (Some(at), _) => at + 2,
        (None, Some(at)) => at + 1,
        // Compose files of the official image hold flags alone.
        (None, None) if words.first().is_some_and(|word| word.starts_with('-')) => 0,
        (None, None) => return Err("there is no `vllm serve` command line".to_owned()),
    };
    let is_end = |word: &String| matches!(word.as_str(), "&&" | "||" | ";" | "|" | "&" | "\n");
    let is_redirection = |word: &String| word.starts_with('>') || word.starts_with("2>");
    let rest = &words[start..];
    let end = rest.iter().position(|word| is_end(word) || is_redirection(word));
    Ok(rest[..end.unwrap_or(rest.len())].to_vec())
}

/// The script of `sh -c SCRIPT`, if there is one.
fn shell_script(words: &[String]) -> Option<&str> {
    let shell = words.first()?;
    if !["sh", "bash"].contains(&shell.rsplit('/').next()?) {
        return None;
    }
    let at = words
        .iter()
        .position(|word| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))?;
    words.get(at + 1).map(String::as_str)
}

/// Whether a word runs vLLM's command.
pub(super) fn is_vllm(word: &str) -> bool {
    word == "vllm" || word.ends_with("/vllm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_taken_and_missing_ones_named() {
        assert_eq!(interpolate("a ${B:-c} ${D-e-f} $$x").as_deref(), Ok("a c e-f $x"));
        assert_eq!(interpolate("${A:-${B:-inner}}").as_deref(), Ok("inner"));
        for text in ["$MODEL", "${MODEL}", "${MODEL:?set-me}"] {
            let error = interpolate(text).expect_err(text);
            assert!(error.contains("variable MODEL has no default"), "{error}");
        }
        assert!(interpolate("${A:-b").is_err());
    }

    #[test]
    fn the_command_is_found() {
        let found = |text: &str| after_serve(&split(text).expect("words")).expect(text);
        assert_eq!(found("# note\nexec vllm serve \\\n  m --x 1 && echo"), ["m", "--x", "1"]);
        assert_eq!(found("bash -lc 'cd / && vllm serve m'"), ["m"]);
        assert_eq!(
            found("python -m vllm.entrypoints.openai.api_server --model m"),
            ["--model", "m"]
        );
        assert_eq!(found("--model m"), ["--model", "m"]);
        assert!(after_serve(&split("echo hello").expect("words")).is_err());
    }
}
