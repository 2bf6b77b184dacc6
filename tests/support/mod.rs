//! What the tests of the block manager share: a naive model of it, written from
//! docs/design.md with vectors and linear scans, an engine's pages, and a rig that runs
//! both beside the real manager and compares everything after each call.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod drive;
pub(crate) mod hashers;
pub(crate) mod ink;
pub(crate) mod naive;
pub(crate) mod ops;
pub(crate) mod pages;
pub(crate) mod reason;
pub(crate) mod release;
pub(crate) mod rig;
pub(crate) mod who;
