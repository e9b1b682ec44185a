//! The rules, one by one; what becomes of them together is for the simulation.

mod bench;
mod rules;
mod table;
