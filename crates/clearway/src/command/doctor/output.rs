//! The report as it is printed, and the exit status.

use std::process::ExitCode;

use clearway_doctor::Verdict;
use clearway_doctor::report::Report;

use super::options::Form;
use super::{Examination, terminal};
use crate::command::say;

/// Prints what came of it: 0 = healthy, 1 = something was found, 2 = nothing could be examined.
pub(super) fn print(examination: Examination) -> ExitCode {
    let Examination {
        options,
        docket,
        notes,
        live,
        examined,
        troubles,
    } = examination;
    let mut report = docket.report(notes);
    if !live.is_empty() {
        // The balancer has seen more of it than one probe.
        let is_told = |own: &Verdict| {
            live.iter().any(|told| {
                (told.cause, &told.backend, &told.server) == (own.cause, &own.backend, &own.server)
            })
        };
        report.verdicts.retain(|own| !is_told(own));
        report.verdicts.extend(live);
        let (checked, notes) = (report.checked, report.notes);
        report = Report::new(report.verdicts, checked, notes);
    }
    // What was said on standard error already is all there is to say.
    let is_said = examined == 0 && report.verdicts.is_empty() && troubles >= report.notes.len();
    if !is_said || options.format == Form::Json {
        say(&match options.format {
            Form::Text => report.terminal(
                terminal::width(options.width),
                terminal::has_colour(options.colour),
            ),
            Form::Json => report.json_text(),
            Form::Markdown => report.markdown(),
        });
    }
    match (report.is_clean(), examined) {
        (false, _) => ExitCode::from(1),
        (true, 0) => ExitCode::from(2),
        (true, _) => ExitCode::SUCCESS,
    }
}
