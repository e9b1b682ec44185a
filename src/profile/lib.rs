//! User-data, profiles and layers: parsed, checked and resolved, without any I/O.

pub mod secret;
pub mod sha256;
pub mod suggest;
pub mod userdata;
