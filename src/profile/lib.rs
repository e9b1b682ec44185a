//! User-data, profiles and layers: parsed, checked and resolved, without any I/O.
//!
//! A boot turns [`userdata`] into a [`library::Library`], resolves a profile of it ([`resolve`]), and applies the
//! [`order::steps`] of the result.

mod asks;
mod conflict;
pub mod console;
pub mod diagnostic;
pub mod duration;
pub mod facts;
mod graph;
pub mod library;
pub mod lint;
pub mod names;
pub mod openpgp;
pub mod order;
pub mod param;
mod render;
pub mod resolve;
pub mod resource;
#[cfg(feature = "schema")]
pub mod schema;
pub mod scope;
pub mod secret;
pub mod sha256;
pub mod show;
pub mod source;
pub mod suggest;
mod template;
pub mod text;
pub mod userdata;
mod values;
pub mod wire;
mod written;
