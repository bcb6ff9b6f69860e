//! Judging what people write and what they call themselves. No I/O, no clock, and nothing here rewrites a text: it
//! only gives a [`Verdict`].
//!
//! - [`Filter`]: the word lists and the link policy of a room, compiled.
//! - [`Repeats`]: the same text again, from one person or from many.
//! - [`names`]: look-alikes of the staff, names for guests.

mod filter;
mod fold;
mod links;
pub mod names;
mod repeats;
mod sites;
mod words;

pub use filter::{Filter, FilterError, Reason, Verdict};
pub use links::Links;
pub use repeats::{OnFlood, RepeatLimits, Repeats};
pub use words::WordLists;
