//! Where a connection says itself which server it goes to, such as by the name in its ClientHello.

use std::rc::Rc;

use clearway_http::RequestHead;
use clearway_outcome::{Fault, FaultKind, Phase, RequestId, Side};
use clearway_rules::Scratch;

use crate::client::Conn;
use crate::exchange::around::Surroundings;
use crate::exchange::find_home;
use crate::local::LocalBackend;
use crate::named::{Home, Place};

/// The backend that the connection names, in place of the one that has it do so.
///
/// # Errors
/// [`FaultKind::NameUnresolved`] and the like where it names none that is allowed and there.
pub(super) async fn lead(
    conn: &Conn,
    backend: &Rc<LocalBackend>,
    id: RequestId,
) -> Result<Rc<LocalBackend>, Fault> {
    let fault = |kind| {
        let elapsed = conn.worker.now().micros_since(conn.accepted);
        Fault::new(kind, Phase::Choose, Side::Local).after(elapsed)
    };
    let Some(by_request) = backend.plan.by_request.clone() else {
        return Ok(Rc::clone(backend));
    };
    let plan = conn.current_plan();
    let mut text = Vec::new();
    if let Some(words) = &by_request.words {
        let around = Surroundings { conn, plan: &plan };
        let head = RequestHead::default();
        let view = around.view(&head, b"", id);
        words.write(&view, &mut Scratch::default(), &mut text);
    }
    let text = String::from_utf8(text).map_err(|_| fault(FaultKind::NameUnresolved))?;
    let place = Place::of(&text);
    if let Some(&at) = by_request.backends.get(place.authority.as_bytes()) {
        let known = plan.backends.get(at).cloned();
        return known.ok_or_else(|| fault(FaultKind::NameUnresolved));
    }
    let tls = backend.plan.tls.is_some() && place.tls.unwrap_or(true);
    let default = by_request.settings.port.unwrap_or(443);
    let home = Home::of(place.authority, &by_request.settings, default)
        .ok_or_else(|| fault(FaultKind::NameUnresolved))?;
    let key = format!("{}{}", if tls { "tls:" } else { "" }, place.authority);
    let found = find_home(conn, &key, (&home, tls), backend, &by_request).await;
    found.map_err(fault)
}
