//! What stands at the path of a Unix socket.

use clearway_doctor::Finding;
use clearway_doctor::evidence::UnixLook;
use clearway_net::connect::Target;
use clearway_net::probe::diagnose::{self, User};

pub(super) async fn run(target: &Target) -> Finding {
    let Target::Unix(path) = target else {
        return Finding::NotRun("the server has no path".to_owned());
    };
    let user = match User::of(std::process::id()) {
        Ok(user) => user,
        Err(error) => return Finding::NotRun(error.to_string()),
    };
    let found = match diagnose::unix(path, &user).await {
        Ok(found) => found,
        Err(error) => return Finding::NotRun(error.to_string()),
    };
    let file = found.file.unwrap_or_default();
    let others = found.siblings.iter().map(|path| path.display().to_string());
    Finding::Unix(Box::new(UnixLook {
        exists: found.file.is_some(),
        is_socket: file.is_socket,
        is_listening: found.file.map(|_| found.listening.is_some()),
        errno: found.errno.unwrap_or(0),
        mode: file.mode,
        owner: (file.uid, file.gid),
        barred: found.closed.map(|path| path.display().to_string()),
        others: others.collect(),
        queue: found.listening.and_then(|listening| listening.waiting),
    }))
}
