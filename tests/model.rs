//! Random operation sequences on tiny pools, compared with a naive model after each
//! operation. KVKEEP_CASES sets the number of cases; a failing one is shrunk and printed
//! with its seed.

mod support;

use kvkeep::hash::{BlockHasher, Xxh3};
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use support::hashers::{Constant, Weak};
use support::ops::{Op, Setup, cases, sequences, setups};
use support::reason::{DIAGNOSED, FALSELY_EVICTED};
use support::rig::Rig;

fn run<H: BlockHasher>(setup: &Setup, ops: &[Op], hasher: H, weak: bool) {
    let mut rig = Rig::new(setup, hasher, weak);
    ops.iter().for_each(|op| rig.apply(op));
    rig.abort_all();
}

proptest! {
    #![proptest_config(cases(12_000))]

    #[test]
    fn the_manager_does_what_the_model_does(setup in setups(), ops in sequences(80)) {
        run(&setup, &ops, Xxh3, false);
        let (diagnosed, false_ones) =
            (DIAGNOSED.load(Ordering::Relaxed), FALSELY_EVICTED.load(Ordering::Relaxed));
        prop_assert!(false_ones <= 3 + diagnosed / 2000, "{false_ones} of {diagnosed}");
    }
}

proptest! {
    #![proptest_config(cases(2500))]

    #[test]
    fn verified_hits_are_right_with_one_hash_for_all(setup in setups(), ops in sequences(80)) {
        run(&Setup { hash_only: false, ..setup }, &ops, Constant, true);
    }

    #[test]
    fn verified_hits_are_right_with_hashes_of_one_bit(setup in setups(), ops in sequences(80)) {
        run(&Setup { hash_only: false, ..setup }, &ops, Weak::<1>, true);
    }

    #[test]
    fn verified_hits_are_right_with_hashes_of_two_bits(setup in setups(), ops in sequences(80)) {
        run(&Setup { hash_only: false, ..setup }, &ops, Weak::<2>, true);
    }
}
