//! For tests and benchmarks of everything that talks to S3: real servers on a free port of
//! 127.0.0.1, and a proxy in front of them that misbehaves as told.
//!
//! * [`Server`]: a strict S3 server in this process (signatures are verified), its data in a
//!   temporary folder that can be looked at: [`Server::objects`], [`Server::pending_uploads`].
//! * [`MiniStack`]: a child process that knows versions, events, IAM and lifecycle rules, too.
//! * [`FaultProxy`]: an HTTP/1.1 proxy with latency, throttling and faults chosen by [`Rule`]s,
//!   and a log of what was asked.
//!
//! All of them end when their value is dropped, also by a panic.
//!
//! ```
//! use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! let server = Server::start()?;
//! server.create_bucket("videos")?;
//! let plan = Plan::default()
//!     .latency_ms(20)
//!     .rule(Rule::new(Fault::slow_down()).op(Op::UploadPart).part(3).times(2));
//! let proxy = FaultProxy::start(server.addr(), plan)?;
//! // ... point a client to proxy.endpoint(), with server.access_key() and server.secret_key() ...
//! assert_eq!(proxy.count(Op::UploadPart), 0);
//! assert!(server.pending_uploads()?.is_empty());
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod background;
mod http;
mod log;
mod ministack;
mod plan;
mod proxy;
mod server;

pub use http::Op;
pub use log::Entry;
pub use ministack::MiniStack;
pub use plan::{At, Fault, Plan, Rule};
pub use proxy::FaultProxy;
pub use server::{Object, PendingUpload, Server, ServerBuilder};
