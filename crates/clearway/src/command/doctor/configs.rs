//! Configurations, and the logs that they name.

use std::path::{Path, PathBuf};

use clearway_config::survey::{self, Survey};
use clearway_config::{Diagnostic, Severity};
use clearway_outcome::Speaker;
use clearway_telemetry::read::Format;

use super::Examination;
use super::input;
use super::sources::{From, Log, Sources};

/// Most complaints about a configuration that are told.
const TOLD: usize = 4;

/// Reads all configurations. Logs that they name are read too where nobody named others.
pub(super) fn read(on: &mut Examination, sources: &mut Sources) {
    let has_logs = !sources.logs.is_empty();
    let mut surveys: Vec<Survey> = Vec::new();
    if let Some(path) = &sources.native
        && is_readable(on, path)
    {
        let loaded = clearway_config::load(path);
        if loaded.has_errors() {
            tell(on, &loaded.diagnostics);
            let name = path.display();
            on.trouble(&format!(
                "{name}: it has errors; \"clearway check -c {name}\" tells all of them"
            ));
        } else {
            surveys.push(survey::native(&loaded.config));
        }
    }
    let mut nginx: Vec<Survey> = Vec::new();
    for path in &sources.nginx {
        if is_readable(on, path) {
            nginx.push(survey::nginx(path));
        }
    }
    surveys.extend(without_parts(nginx));
    let mut haproxy = sources.haproxy.clone();
    haproxy.retain(|path| is_readable(on, path));
    if !haproxy.is_empty() {
        surveys.push(survey::haproxy(&haproxy));
    }
    for survey in surveys {
        tell(on, &survey.diagnostics);
        if survey.fronts.is_empty() && survey.backends.is_empty() {
            on.trouble(&nothing_in(&survey));
            continue;
        }
        on.examined += 1;
        if !has_logs {
            add_logs(on, sources, &survey);
        }
        on.docket.add_survey(survey);
    }
}

/// A file that says nothing about anybody who listens or serves.
fn nothing_in(survey: &Survey) -> String {
    let name = survey.files.first().map_or("the folder", String::as_str);
    let wanted = match survey.speaker {
        Speaker::Nginx => "no \"server\" and no \"upstream\" of NGINX",
        Speaker::Haproxy => "no \"frontend\", \"listen\" or \"backend\" of HAProxy",
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => "no listener and no backend",
    };
    format!("{name}: there is {wanted} in it; is it the right file?")
}

fn is_readable(on: &mut Examination, path: &Path) -> bool {
    // HAProxy is given folders, too.
    if path.is_dir() {
        return true;
    }
    match std::fs::File::open(path) {
        Ok(_) => true,
        Err(error) => {
            let name = path.display();
            on.trouble(&format!("{name}: {}", input::words(&error)));
            false
        }
    }
}

/// Without files that another one includes: a folder with all of them was given.
fn without_parts(surveys: Vec<Survey>) -> Vec<Survey> {
    let real = |file: &String| {
        let path = PathBuf::from(file);
        path.canonicalize().unwrap_or(path)
    };
    let files: Vec<Vec<PathBuf>> = surveys
        .iter()
        .map(|survey| survey.files.iter().map(real).collect())
        .collect();
    let is_part = |at: usize| {
        let own = files.get(at).and_then(|files| files.first());
        let mut others = files.iter().enumerate().filter(|(other, _)| *other != at);
        own.is_some_and(|own| others.any(|(_, files)| files.iter().skip(1).any(|f| f == own)))
    };
    let keep: Vec<bool> = (0..surveys.len()).map(|at| !is_part(at)).collect();
    surveys
        .into_iter()
        .zip(keep)
        .filter_map(|(survey, keep)| keep.then_some(survey))
        .collect()
}

/// Notes what could not be understood.
fn tell(on: &mut Examination, diagnostics: &[Diagnostic]) {
    let errors = diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error);
    let count = errors.clone().count();
    for error in errors.take(TOLD) {
        on.note(error.to_string());
    }
    if count > TOLD {
        on.note(format!(
            "There are {} more errors in the configuration.",
            count - TOLD
        ));
    }
}

/// Adds the logs that a configuration names, where they can be read.
fn add_logs(on: &mut Examination, sources: &mut Sources, survey: &Survey) {
    let folder = survey.files.first().map(Path::new).and_then(Path::parent);
    let place = |written: &str| {
        let path = Path::new(written);
        let is_plain = !written.contains(['$', '{']) && !written.starts_with("syslog:");
        let path = match folder {
            Some(folder) if path.is_relative() => folder.join(path),
            _ => path.to_owned(),
        };
        (is_plain && path.is_file()).then_some(path)
    };
    let format = match survey.speaker {
        Speaker::Nginx => Some(Format::NginxAccess),
        Speaker::Haproxy => Some(Format::Haproxy),
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => None,
    };
    let mut found: Vec<Log> = Vec::new();
    let mut add = |path: PathBuf, template: Option<(Format, String)>| {
        if !found.iter().any(|log| log.from == From::File(path.clone())) {
            found.push(Log {
                name: path.display().to_string(),
                from: From::File(path),
                is_found: true,
                template,
            });
        }
    };
    for front in &survey.fronts {
        for path in front.error_logs.iter().filter_map(|log| place(log)) {
            add(path, None);
        }
        for (log, text) in &front.access_logs {
            if let Some(path) = place(log) {
                let is_text = text.contains(['$', '%']);
                let template = format.filter(|_| is_text).map(|f| (f, text.clone()));
                add(path, template);
            }
        }
    }
    let (read, barred): (Vec<Log>, Vec<Log>) = found.into_iter().partition(
        |log| matches!(&log.from, From::File(path) if std::fs::File::open(path).is_ok()),
    );
    let names = |logs: &[Log]| {
        let names: Vec<&str> = logs.iter().map(|log| log.name.as_str()).collect();
        names.join(", ")
    };
    let is_empty = |log: &Log| matches!(&log.from, From::File(path) if path.metadata().is_ok_and(|about| about.len() == 0));
    if !read.iter().all(is_empty) {
        on.note(format!(
            "Logs that the configuration names were read: {}. --log names others.",
            names(&read)
        ));
    }
    if !barred.is_empty() {
        on.note(format!(
            "Logs that the configuration names could not be read by this user: {}.",
            names(&barred)
        ));
    }
    sources.logs.extend(read);
}
