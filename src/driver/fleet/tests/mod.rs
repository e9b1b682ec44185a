//! The rules, one by one; what becomes of them together is for the simulation.

mod bench;
mod crowd;
mod rules;
mod table;
