//! `on_error`: what another route answers in place of an error.

use super::{concept, table_value};

concept! {
    /// That another route answers in place of an error of our own, such as a fault, a refusal or a file
    /// that is not there. It is looked for once with the path as it is then, and the variables `rerouted` set
    /// to 1, `error_status` to the status and `sent_status` to the one that is sent.
    OnError, "on_error";

    /// For which statuses.
    status: Vec<u16> = Vec::new(), required = true, range = Some((300.0, 599.0)), example = Some("[404]");
    /// The path, or with `@` a name that the variable `goto` is set to.
    to: String = String::new(), required = true, example = Some("\"/404.html\"");
    /// The status that is sent: the error's own when absent, with 0 that of the answer.
    send: Option<u16> = None, range = Some((0.0, 599.0)), example = Some("200");
    /// Whether it is for errors that servers answer with, too.
    of_servers: bool = false, example = Some("true");
    /// Whether the other route sees GET where it is looked for with a path, unless a head alone is asked for.
    as_get: bool = false, example = Some("true");
    /// Whether an error of the answer is answered by what its own route says about it.
    again: bool = false, example = Some("true");
}
table_value!(OnError);
