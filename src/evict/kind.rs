//! Policies by name, for command lines and configurations.

use super::{
    Adaptive, AdaptiveReplacement, Clock, EvictionPolicy, Fifo, FlopAware, Gdsf, Hyperbolic, Lfu,
    Lhd, Lirs, Lru, LruK, Mq, Priority, Random, S3Fifo, Sieve, Slru, TailLru, TwoQ, WTinyLfu,
    WorkloadAware,
};
use std::fmt;
use std::str::FromStr;

/// A policy of this crate, with its defaults for a size of blocks.
///
/// ```
/// use kvkeep::evict::Kind;
/// use kvkeep::{BlockManager, Config};
///
/// let kind: Kind = "lru-2".parse()?;
/// let kv = BlockManager::with_policy(Config::new(64), kind.build(16))?;
/// # let _ = kv;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// [`Lru`]
    Lru,
    /// [`Fifo`]
    Fifo,
    /// [`Lfu`]
    Lfu,
    /// [`Gdsf::lfu_da`]
    LfuDa,
    /// [`Clock`]
    Clock,
    /// [`Sieve`]
    Sieve,
    /// [`Slru`]
    Slru,
    /// [`TwoQ`]
    TwoQ,
    /// [`Mq`]
    Mq,
    /// [`LruK`]
    LruK,
    /// [`AdaptiveReplacement`]
    AdaptiveReplacement,
    /// [`Lirs`]
    Lirs,
    /// [`S3Fifo`]
    S3Fifo,
    /// [`WTinyLfu`]
    WTinyLfu,
    /// [`Gdsf`]
    Gdsf,
    /// [`Lhd`]
    Lhd,
    /// [`Hyperbolic`]
    Hyperbolic,
    /// [`WorkloadAware`]
    WorkloadAware,
    /// [`TailLru`]
    TailLru,
    /// [`FlopAware`]
    FlopAware,
    /// [`Priority`]
    Priority,
    /// [`Random`]
    Random,
    /// [`Adaptive`]
    Adaptive,
}

impl Kind {
    /// All of them, the default first.
    pub const ALL: [Kind; 23] = [
        Kind::Lru,
        Kind::Fifo,
        Kind::Lfu,
        Kind::LfuDa,
        Kind::Clock,
        Kind::Sieve,
        Kind::Slru,
        Kind::TwoQ,
        Kind::Mq,
        Kind::LruK,
        Kind::AdaptiveReplacement,
        Kind::Lirs,
        Kind::S3Fifo,
        Kind::WTinyLfu,
        Kind::Gdsf,
        Kind::Lhd,
        Kind::Hyperbolic,
        Kind::WorkloadAware,
        Kind::TailLru,
        Kind::FlopAware,
        Kind::Priority,
        Kind::Random,
        Kind::Adaptive,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Lru => "lru",
            Kind::Fifo => "fifo",
            Kind::Lfu => "lfu",
            Kind::LfuDa => "lfu-da",
            Kind::Clock => "clock",
            Kind::Sieve => "sieve",
            Kind::Slru => "slru",
            Kind::TwoQ => "2q",
            Kind::Mq => "mq",
            Kind::LruK => "lru-2",
            Kind::AdaptiveReplacement => "arc",
            Kind::Lirs => "lirs",
            Kind::S3Fifo => "s3-fifo",
            Kind::WTinyLfu => "w-tinylfu",
            Kind::Gdsf => "gdsf",
            Kind::Lhd => "lhd",
            Kind::Hyperbolic => "hyperbolic",
            Kind::WorkloadAware => "workload-aware",
            Kind::TailLru => "t-lru",
            Kind::FlopAware => "flop-aware",
            Kind::Priority => "priority",
            Kind::Random => "random",
            Kind::Adaptive => "adaptive",
        }
    }

    /// The policy, for a manager that is told its policy at run time and has blocks of
    /// `block_size` tokens (0 counts as 1).
    #[must_use]
    pub fn build(self, block_size: usize) -> Box<dyn EvictionPolicy + Send> {
        match self {
            Kind::Lru => Box::new(Lru),
            Kind::Fifo => Box::new(Fifo::default()),
            Kind::Lfu => Box::new(Lfu::default()),
            Kind::LfuDa => Box::new(Gdsf::lfu_da()),
            Kind::Clock => Box::new(Clock::default()),
            Kind::Sieve => Box::new(Sieve::default()),
            Kind::Slru => Box::new(Slru::default()),
            Kind::TwoQ => Box::new(TwoQ::default()),
            Kind::Mq => Box::new(Mq::default()),
            Kind::LruK => Box::new(LruK::default()),
            Kind::AdaptiveReplacement => Box::new(AdaptiveReplacement::default()),
            Kind::Lirs => Box::new(Lirs::default()),
            Kind::S3Fifo => Box::new(S3Fifo::default()),
            Kind::WTinyLfu => Box::new(WTinyLfu::default()),
            Kind::Gdsf => Box::new(Gdsf::for_block_size(block_size)),
            Kind::Lhd => Box::new(Lhd::default()),
            Kind::Hyperbolic => Box::new(Hyperbolic::default()),
            Kind::WorkloadAware => Box::new(WorkloadAware::default()),
            Kind::TailLru => Box::new(TailLru::for_block_size(block_size)),
            Kind::FlopAware => Box::new(FlopAware::default()),
            Kind::Priority => Box::new(Priority::default()),
            Kind::Random => Box::new(Random::default()),
            Kind::Adaptive => Box::new(Adaptive::default()),
        }
    }
}

/// The name.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// There is no policy of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy(pub String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no eviction policy is called `{}`; choose one of ", self.0.escape_debug())?;
        for (at, kind) in Kind::ALL.iter().enumerate() {
            write!(f, "{}{kind}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownPolicy {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use std::collections::HashSet;

    #[test]
    fn names_lead_back_and_differ() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(Kind::ALL.map(Kind::name).into_iter().collect::<HashSet<_>>().len(), 23);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "lur\n".parse::<Kind>().unwrap_err().to_string();
        assert!(
            error.starts_with(r"no eviction policy is called `lur\n`; choose one of lru, fifo")
        );
        assert!(error.ends_with("random, adaptive"));
    }

    #[test]
    fn all_keep_the_rules() {
        for kind in Kind::ALL {
            conformance::check(|| kind.build(1), 100)
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
    }
}
