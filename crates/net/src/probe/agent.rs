//! The probe that asks an agent on a server: it sends a text, if there is one, and takes the first line
//! that comes. What the line says is for others to judge.

use clearway_outcome::FaultKind;

use super::visit::{Failure, Visit};
use crate::connect::Target;

/// Longest line that an agent may answer with.
const LINE_MAX: usize = 1_024;

/// Asks an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// What it is sent.
    pub send: Vec<u8>,
}

impl Agent {
    pub(super) async fn check(&self, visit: &mut Visit, _: &Target) -> Result<String, Failure> {
        if !self.send.is_empty() {
            visit.send(&self.send).await?;
        }
        visit.sent();
        loop {
            let came = &visit.buf;
            let end = came.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            if let Some(line) = end.and_then(|end| came.get(..end)) {
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if came.len() > LINE_MAX {
                let words = "the line of the agent is too long".to_owned();
                return Err(Failure::new(FaultKind::ResponseHeadersTooLarge, words));
            }
            if !visit.read().await? {
                let rest = String::from_utf8_lossy(&visit.buf).into_owned();
                return match rest.is_empty() {
                    true => Err(visit.closed()),
                    false => Ok(rest),
                };
            }
        }
    }
}
