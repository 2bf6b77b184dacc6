//! From logits to a token.
//!
//! The choice is a function of the logits, the seed, the sample and the position, so a
//! preempted answer goes on as it would have.

use crate::random;

/// How an answer's tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token; 1 samples from the model's distribution.
    pub temperature: f32,
    /// Other seeds, other answers.
    pub seed: u64,
}

/// The next token of answer `sample`, whose logits are those at `position`. The first of
/// the likeliest at temperature 0, by Gumbel's trick above.
pub(crate) fn choose(logits: &[f32], how: Sampling, sample: usize, position: usize) -> u32 {
    let stream = random::word(random::word(how.seed, sample as u64), position as u64);
    let score = |(token, &logit): (usize, &f32)| {
        if how.temperature == 0.0 {
            return logit;
        }
        // Strictly between 0 and 1, so that both logarithms are finite.
        let uniform = f64::from(random::unit(stream, token as u64)) + 0.5_f64.powi(25);
        logit / how.temperature - (-uniform.ln()).ln() as f32
    };
    let mut best = (0, f32::NEG_INFINITY);
    for (token, score) in logits.iter().enumerate().map(|logit| (logit.0, score(logit))) {
        if score > best.1 {
            best = (token as u32, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeliest_or_in_proportion() {
        let logits = [0.0, 3_f32.ln(), f32::NEG_INFINITY];
        let greedy = Sampling { temperature: 0.0, seed: 0 };
        assert_eq!(choose(&logits, greedy, 0, 0), 1);
        let sampled = Sampling { temperature: 1.0, seed: 0 };
        let ones = (0..4000).filter(|&at| choose(&logits, sampled, 0, at) == 1).count();
        // Three in four: 3000, with a standard deviation of 27.
        assert!((2850..3150).contains(&ones), "{ones}");
        let differ =
            (0..50).any(|at| choose(&logits, sampled, 0, at) != choose(&logits, sampled, 1, at));
        assert!(differ, "two samples of one request are the same");
    }
}
