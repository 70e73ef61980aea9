//! Who may speak with whom in a Windrow cluster.
//!
//! ```text
//!  identity, certificate   who somebody is: windrow://CLUSTER/ROLE/NAME
//!  credentials, token      what one shows, and how one comes by it
//!  files                   files and folders of their owner alone
//!  tls                     both sides of a connection; the cluster's authority is the only root
//!  dial, listener          connections out and in, plain where there are no credentials
//!  local                   whose a connection on this machine is, where there are no credentials
//!  access                  one layer around all services, which asks a gate before each call
//!  enrollment, renewal     the newcomer's and the member's side of the Enrollment service
//!  retry                   what is asked again of one who has hung up
//!  limits                  what a stranger can make us hold
//!  crowd, door             connections that wait, and those let in; nobody keeps others out
//!  refusals                a line a second of those who are refused
//! ```
//!
//! It verifies nothing by itself: chains, signatures, names and validity are rustls's. It issues
//! nothing, which is the coordinator's, and decides nothing about methods: gates do.

// It panics where standard error cannot be written; `tracing`, and `cli::stderr`, do not.
#![warn(clippy::print_stderr)]

pub mod access;
mod certificate;
mod credentials;
pub mod crowd;
mod dial;
mod door;
mod enrollment;
mod error;
pub mod files;
mod identity;
pub mod limits;
mod listener;
mod local;
mod refusals;
mod renewal;
mod retry;
mod tls;
mod token;

pub use tokio_rustls::rustls::pki_types;

pub use certificate::Certified;
pub use credentials::{Credentials, FreshKey, pem};
pub use dial::{Dialed, Dialer, NotAnAddress};
pub use enrollment::enroll;
pub use error::{SecurityError, explain};
pub use identity::{Identity, NotAnIdentity, Role};
pub use listener::{Connection, listen};
pub use local::{LocalGate, LocalUsers, Origin, nobodys_number};
pub use refusals::Refusals;
pub use renewal::{keep_renewed, renew_if_due};
pub use retry::retry_while_hung_up;
pub use tls::{Tls, job_host};
pub use token::JoinToken;
