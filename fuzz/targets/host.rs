//! What the agent's own files on archives look for around them.

#[path = "../../src/agent/host/archive/mod.rs"]
pub mod archive;
#[path = "../../src/agent/host/file_error.rs"]
pub mod file_error;
#[path = "../../src/agent/host/plain.rs"]
mod plain;

pub use plain::plain;
