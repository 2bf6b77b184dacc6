//! What a sweep can run: the library's policies, and the two bounds.

use kvkeep::evict::Kind;
use std::fmt;
use std::str::FromStr;

/// A policy of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// One of the library's, with its defaults.
    Evict(Kind),
    /// The best that any policy can do at a size; see [`Opt`](crate::Opt).
    Opt,
    /// A cache that never evicts: what the trace has to give.
    Infinite,
}

impl Policy {
    /// LRU, which the others are measured against.
    pub const LRU: Policy = Policy::Evict(Kind::Lru);

    /// All of them: the library's in its order, then the bounds.
    pub fn all() -> impl Iterator<Item = Policy> {
        Kind::ALL.into_iter().map(Policy::Evict).chain([Policy::Opt, Policy::Infinite])
    }

    /// Those to sweep where nobody says otherwise: the default, and what beats it in places.
    pub fn usual() -> impl Iterator<Item = Policy> {
        let usual = ["lru", "lru-2", "s3-fifo", "lhd", "workload-aware", "adaptive"];
        Policy::all().filter(move |policy| usual.contains(&policy.name()))
    }

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Evict(kind) => kind.name(),
            Policy::Opt => "opt",
            Policy::Infinite => "infinite",
        }
    }

    /// Whether no engine can run it: it knows the future, or has no end.
    #[must_use]
    pub const fn is_bound(self) -> bool {
        matches!(self, Policy::Opt | Policy::Infinite)
    }
}

/// The name.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Policy, UnknownPolicy> {
        Policy::all()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// There is no policy of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy(pub String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no policy is called {:?}; there are ", self.0)?;
        for (at, policy) in Policy::all().enumerate() {
            write!(f, "{}{policy}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownPolicy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for policy in Policy::all() {
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        let error = "LRU".parse::<Policy>().unwrap_err().to_string();
        assert!(error.starts_with("no policy is called \"LRU\"; there are lru, fifo, "), "{error}");
        assert!(error.ends_with(", opt, infinite"), "{error}");
    }
}
