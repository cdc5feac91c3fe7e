//! `clearway ctl`: asks a running balancer to do something.

use std::process::ExitCode;

use clap::Subcommand;

use super::{AdminArg, complain, say};

/// Arguments of `ctl`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read the configuration again; a bad one leaves everything as it was and says why.
    Reload,
    /// List servers with their state, and why they have it.
    Servers,
    /// List certificates, and how it stands with those that are obtained by ACME.
    Certificates,
    /// Renew a certificate by ACME now, for example because its key was stolen.
    Renew {
        /// What `certificates` calls it.
        certificate: String,
    },
    /// Let only sticky clients use a server.
    Drain {
        /// BACKEND/SERVER
        server: String,
    },
    /// Take a server out.
    Maintenance {
        /// BACKEND/SERVER
        server: String,
    },
    /// Put a server back to normal.
    Ready {
        /// BACKEND/SERVER
        server: String,
    },
    /// Finish what is in flight and end.
    Shutdown,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let (method, path) = match self.action {
            Action::Reload => ("POST", "/api/v1/reload".to_owned()),
            Action::Servers => ("GET", "/api/v1/servers?format=text".to_owned()),
            Action::Certificates => ("GET", "/api/v1/certificates?format=text".to_owned()),
            Action::Renew { certificate } => {
                ("POST", format!("/api/v1/certificates/{certificate}/renew"))
            }
            Action::Drain { server } => ("POST", format!("/api/v1/servers/{server}/drain")),
            Action::Maintenance { server } => {
                ("POST", format!("/api/v1/servers/{server}/maintenance"))
            }
            Action::Ready { server } => ("POST", format!("/api/v1/servers/{server}/ready")),
            Action::Shutdown => ("POST", "/api/v1/shutdown".to_owned()),
        };
        match clearway_control::client::request(&self.admin.admin, method, &path) {
            Ok((200, body)) => {
                say(&body);
                ExitCode::SUCCESS
            }
            Ok((_, body)) => {
                complain(&body);
                ExitCode::FAILURE
            }
            Err(error) => self.admin.unreachable(&error),
        }
    }
}
