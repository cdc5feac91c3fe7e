//! Basic authentication (RFC 7617): 401 unless a request names a user with the right password.

use crate::ast::Users as List;
use crate::users::Users;
use crate::view::{Flow, LocalReply, View};

use super::header::is_value;

/// Who may go on.
#[derive(Debug)]
pub(crate) struct Auth {
    users: Users,
    reply: LocalReply,
}

impl Auth {
    /// # Errors
    /// A realm that cannot stand in a header, a damaged hash.
    pub(super) fn new(realm: &str, users: &List) -> Result<Self, String> {
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = format!("Basic realm=\"{realm}\"");
        if !is_value(challenge.as_bytes()) {
            return Err(format!("{realm:?} cannot stand in a header"));
        }
        let text = |text: &str| text.as_bytes().to_vec();
        let reply = LocalReply {
            status: 401,
            headers: vec![
                ("WWW-Authenticate".to_owned(), text(&challenge)),
                ("Cache-Control".to_owned(), text("no-cache")),
            ],
            page: true,
            ..LocalReply::default()
        };
        Ok(Self {
            users: Users::new(users)?,
            reply,
        })
    }

    pub(super) fn apply(&self, view: &View<'_>) -> Flow {
        if self.users.knows(view) {
            return Flow::Continue;
        }
        Flow::Reply(self.reply.clone())
    }
}
