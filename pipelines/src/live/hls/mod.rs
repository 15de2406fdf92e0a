//! HLS as RFC 8216 (and its second edition's draft, for parts) describes it: segments, playlists,
//! and where they are kept.
//!
//! [`options`] says what is wanted, [`ts`] cuts a transport stream into segments, [`publisher`]
//! takes finished segments and brings them to a [`store`] with the playlists ([`playlist`],
//! [`master`]) that name them.

pub mod master;
mod names;
pub mod options;
pub mod playlist;
pub mod publisher;
mod queue;
mod shelf;
pub mod store;
pub mod ts;
mod utc;
mod worker;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod playlist_tests;
#[cfg(test)]
mod publisher_tests;
#[cfg(test)]
mod test_store;
#[cfg(test)]
mod ts_tests;
