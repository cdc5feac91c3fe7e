//! `clearway why ID`: the receipt of a failed request, in words.

use std::process::ExitCode;

use super::{AdminArg, complain, say};

/// Arguments of `why`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The request id that the client was given.
    id: String,
    #[command(flatten)]
    admin: AdminArg,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let query = if self.json { "" } else { "?format=text" };
        let path = format!("/api/v1/receipts/{}{query}", self.id);
        match clearway_control::client::request(&self.admin.admin, "GET", &path) {
            Ok((200, body)) => {
                say(&body);
                ExitCode::SUCCESS
            }
            Ok((status, body)) => {
                complain(&format!("{status}: {body}\n"));
                ExitCode::FAILURE
            }
            Err(error) => self.admin.unreachable(&error),
        }
    }
}
