//! The balancer's host: memory and disk.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::CUT;
use crate::case::View;
use crate::evidence::{ChangeKind, Probe};
use crate::opinion::{Opinion, Site};

/// `ENOSPC` and `EACCES`.
const NO_SPACE: i32 = 28;
const NO_PERMISSION: i32 = 13;

pub(super) fn out_of_memory(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::OutOfMemory]);
    it.wants(Probe::Host);
    if sure {
        it.strong(view.seen());
        it.hint(view.symptom("the kernel itself says that it has no memory"));
    }
    if view.says(&[
        "exited on signal 9",
        "out of memory",
        "cannot allocate memory",
    ]) {
        it.strong(view.symptom("the log says so"));
    }
    let killed = view.host().and_then(|host| {
        let mut lines = host.kernel_log.iter();
        lines.find(|line| {
            let line = line.to_ascii_lowercase();
            let names = ["nginx", "haproxy", "envoy", "clearway"];
            line.contains("killed process") && names.iter().any(|name| line.contains(name))
        })
    });
    if let Some(line) = killed {
        it.strong(view.kernel(format!("the kernel killed it: {line}")));
    }
    let started = view.lately(&[ChangeKind::Started]).next().is_some();
    if view.is(CUT) {
        if started && view.group.burst >= 3 {
            it.fair(view.symptom(format!(
                "{} clients were lost at once, and the balancer started anew",
                view.group.burst
            )));
        } else if killed.is_none() {
            return it.rule_out();
        }
    }
    if killed.is_none() {
        it.missing("whether the kernel killed the balancer (its log needs root)");
    }
    it.say("The balancer's host, or its memory limit, has no memory left.");
    it.fix(
        Site::Clearway,
        "Raise the memory limit of the service, or make buffers smaller",
        "journalctl -k | grep -i 'out of memory'; systemctl show -p MemoryMax,MemoryCurrent \
         SERVICE",
    );
}

/// What temporary files have in common: only NGINX has them, and only its words say that they failed.
fn is_about_files(view: &View<'_>, it: &mut Opinion) -> bool {
    let is_nginx = view.group.speaker == Speaker::Nginx;
    let names_them = view.says(&[
        "_temp/",
        "proxy_temp",
        "client_body",
        "/tmp",
        "/var/lib/nginx",
        "pwrite()",
        "open()",
    ]);
    if !is_nginx {
        it.rule_out();
    }
    is_nginx && names_them
}

pub(super) fn disk_full(view: &View<'_>, it: &mut Opinion) {
    let named = is_about_files(view, it);
    if view.group.errno() == Some(NO_SPACE) || view.says(&["no space left", "disk quota"]) {
        it.strong(view.seen());
        it.strong(view.symptom("the log says that there is no space left"));
    } else if named && view.group.errno() == Some(NO_PERMISSION) {
        return it.rule_out();
    } else {
        it.missing("whether the disk for temporary files is full (the error log says so)");
    }
    it.say("The disk for NGINX's temporary files is full.");
    it.fix(
        Site::Clearway,
        "Free or enlarge the volume",
        "df -h /var/lib/nginx /var/cache/nginx /tmp",
    );
    it.fix(
        Site::Config,
        "Or write no temporary files",
        "proxy_max_temp_file_size 0; proxy_request_buffering off;",
    );
}

pub(super) fn temp_permission(view: &View<'_>, it: &mut Opinion) {
    let named = is_about_files(view, it);
    let denied = view.group.errno() == Some(NO_PERMISSION) || view.says(&["permission denied"]);
    if named && denied {
        it.strong(view.seen());
        it.strong(view.symptom("the log says that a temporary file may not be written"));
    } else if view.says(&["no space left"]) {
        return it.rule_out();
    } else {
        it.missing("whether temporary files may be written (the error log says so)");
    }
    it.say("NGINX's user may not write its temporary files, so larger bodies fail.");
    it.fix(
        Site::Clearway,
        "Give the folder to the user that NGINX runs as",
        "namei -l /var/lib/nginx/body; ps -o user= -C nginx",
    );
}
