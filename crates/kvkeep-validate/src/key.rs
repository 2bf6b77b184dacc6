//! The key of a server, which nothing prints.

use std::fmt;

/// An API key. Its `Debug` does not show it.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key, unless an HTTP header cannot carry it.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        let is_sound = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| ApiKey(key.to_owned()))
    }

    /// The header that shows it to the server.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without it.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "[the key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn a_key_is_one_line_and_is_not_shown() {
        assert_eq!(ApiKey::new(" sk-1 \n").unwrap().header(), "Bearer sk-1");
        assert!(["", " ", "a b", "a\nb", "\u{e9}"].map(ApiKey::new).iter().all(Option::is_none));
        let key = ApiKey::new("sk-1").unwrap();
        assert!(!format!("{key:?}").contains("sk-1"));
        assert_eq!(key.hidden_in("no key sk-1"), "no key [the key]");
    }
}
