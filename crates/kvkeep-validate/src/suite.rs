//! The four tests, as prompts.

use crate::prompts::{FIRST_TOKEN, WORDS};

/// Tokens at the start of a prompt that tell conversations apart. Random ones: a server
/// that matches single tokens, not blocks, finds nothing behind them either.
const SALT_TOKENS: usize = 16;

/// Token ids that every vocabulary has: bytes, or their like. There is a word for each.
const TOKENS: std::ops::Range<u64> = FIRST_TOKEN as u64..FIRST_TOKEN as u64 + WORDS.len() as u64;

/// A test: in each repeat its turns are sent one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Conversation,
    LongPrefix,
    Independent,
    Short,
}

impl Test {
    pub(crate) const ALL: [Test; 4] =
        [Test::Conversation, Test::LongPrefix, Test::Independent, Test::Short];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Test::Conversation => "conversation",
            Test::LongPrefix => "long prefix",
            Test::Independent => "independent",
            Test::Short => "short",
        }
    }

    /// Tokens of each turn's prompt: those that it shares with the turn before, in full size,
    /// and those that are new.
    fn turns(self) -> &'static [(usize, usize)] {
        match self {
            Test::Conversation => &[(0, 2000), (2000, 500), (2500, 500), (3000, 500), (3500, 500)],
            Test::LongPrefix => &[(0, 8100), (8000, 100), (8000, 100)],
            Test::Independent => &[(0, 2000); 5],
            Test::Short => &[(0, 100), (100, 75), (175, 75), (250, 75), (325, 75)],
        }
    }

    /// Whether turns after the first have something to hit.
    pub(crate) fn has_hits(self) -> bool {
        self != Test::Independent
    }
}

/// A reproducible stream of tokens (SplitMix64, Steele, Lea, Flood 2014).
pub(crate) struct Tokens(u64);

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        Tokens(seed)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn take(&mut self, count: usize) -> impl Iterator<Item = u32> + '_ {
        (0..count).map(|_| (TOKENS.start + self.word() % (TOKENS.end - TOKENS.start)) as u32)
    }

    /// The same prompt as nobody has ever begun it.
    pub(crate) fn with_fresh_start(&mut self, prompt: &[u32]) -> Vec<u32> {
        let rest = prompt.get(SALT_TOKENS..).unwrap_or_default();
        self.take(prompt.len() - rest.len()).chain(rest.iter().copied()).collect()
    }
}

/// The prompts of a test, one per turn, at `scale` of their size.
pub(crate) fn prompts(test: Test, scale: f64, tokens: &mut Tokens) -> Vec<Vec<u32>> {
    let scaled = |full: usize| (full as f64 * scale).round() as usize;
    let mut prompt = Vec::new();
    let mut prompts = Vec::new();
    for &(shared, new) in test.turns() {
        // The longest of them has the salt and as much again.
        prompt.truncate(scaled(shared));
        let length = scaled(shared + new).max(prompt.len() + 1).max(2 * SALT_TOKENS);
        let missing = length - prompt.len();
        prompt.extend(tokens.take(missing));
        prompts.push(prompt.clone());
    }
    prompts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(test: Test, scale: f64) -> Vec<usize> {
        prompts(test, scale, &mut Tokens::new(1)).iter().map(Vec::len).collect()
    }

    #[test]
    fn sizes_are_those_promised() {
        assert_eq!(lengths(Test::Conversation, 1.0), [2000, 2500, 3000, 3500, 4000]);
        assert_eq!(lengths(Test::LongPrefix, 1.0), [8100, 8100, 8100]);
        assert_eq!(lengths(Test::Independent, 1.0), [2000; 5]);
        assert_eq!(lengths(Test::Short, 1.0), [100, 175, 250, 325, 400]);
        assert_eq!(lengths(Test::Conversation, 0.1), [200, 250, 300, 350, 400]);
        assert!(lengths(Test::Short, 0.01).iter().all(|&length| length >= 32));
    }

    fn shared(a: &[u32], b: &[u32]) -> usize {
        a.iter().zip(b).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn turns_share_what_they_should_and_no_more() {
        let of = |test| prompts(test, 1.0, &mut Tokens::new(7));
        for pair in of(Test::Conversation).windows(2) {
            assert_eq!(shared(&pair[0], &pair[1]), pair[0].len());
        }
        for pair in of(Test::LongPrefix).windows(2) {
            // A token in 95 is the same by chance.
            assert!((8000..8004).contains(&shared(&pair[0], &pair[1])));
        }
        for pair in of(Test::Independent).windows(2) {
            assert!(shared(&pair[0], &pair[1]) < 4);
        }
    }

    #[test]
    fn a_fresh_start_changes_the_start_only() {
        let mut tokens = Tokens::new(3);
        let prompt = prompts(Test::Short, 1.0, &mut tokens).remove(0);
        let fresh = tokens.with_fresh_start(&prompt);
        assert_eq!(fresh.len(), prompt.len());
        assert_eq!(fresh[SALT_TOKENS..], prompt[SALT_TOKENS..]);
        assert!(shared(&fresh, &prompt) < 4);
        assert!(shared(&fresh, &tokens.with_fresh_start(&prompt)) < 4);
    }
}
