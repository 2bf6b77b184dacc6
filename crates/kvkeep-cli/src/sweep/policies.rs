//! Which policies are swept.

use crate::names;
use kvkeep_sim::{Policy, UnknownPolicy};

/// What `--policy` takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Choice {
    All,
    One(Policy),
}

/// Parses one name, or says which is near.
pub(super) fn parse(name: &str) -> Result<Choice, String> {
    if name == "all" {
        return Ok(Choice::All);
    }
    name.parse().map(Choice::One).map_err(|UnknownPolicy(name)| {
        let names = ["all"].into_iter().chain(Policy::all().map(Policy::name));
        names::unknown("policy", &name, names)
    })
}

/// The policies to sweep, each once, without the bounds.
pub(super) fn chosen(choices: &[Choice]) -> Vec<Policy> {
    let of = |choice: &Choice| match choice {
        Choice::All => Policy::all().collect(),
        Choice::One(policy) => vec![*policy],
    };
    let wanted: Vec<Policy> = if choices.is_empty() {
        Policy::usual().collect()
    } else {
        choices.iter().flat_map(of).collect()
    };
    let mut chosen = Vec::new();
    for policy in wanted {
        if !policy.is_bound() && !chosen.contains(&policy) {
            chosen.push(policy);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_all_and_what_is_near() {
        let lru = Choice::One(Policy::LRU);
        assert_eq!((parse("all"), parse("lru")), (Ok(Choice::All), Ok(lru)));
        assert!(parse("lru2").unwrap_err().contains("did you mean lru-2? there are all, lru, "));
        assert!(parse("lur").unwrap_err().contains("did you mean lru?"));
        assert!(parse("S3FIFO").unwrap_err().contains("did you mean s3-fifo?"));
        assert!(parse("xyzzy").unwrap_err().starts_with("no such policy; there are all, "));
    }

    #[test]
    fn each_once_and_no_bounds() {
        let of = |names: &str| {
            let choices: Vec<_> = names.split(',').map(|name| parse(name).unwrap()).collect();
            chosen(&choices).into_iter().map(Policy::name).collect::<Vec<_>>().join(",")
        };
        assert_eq!(of("sieve,opt,lru,sieve,infinite"), "sieve,lru");
        assert!(of("all").starts_with("lru,fifo,") && !of("all").contains("opt,"));
        assert_eq!(of("lru,all"), of("all"));
        assert_eq!(
            chosen(&[])[..3],
            [parse("lru"), parse("lru-2"), parse("s3-fifo")].map(|choice| {
                match choice {
                    Ok(Choice::One(policy)) => policy,
                    other => panic!("{other:?}"),
                }
            })
        );
    }
}
