//! User-data: decoded, parsed and checked.

pub mod duration;
