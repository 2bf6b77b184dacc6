//! The one module with `unsafe`: software prefetch.
