//! Called by the name of another program, the command line is that program's.

use std::os::unix::process::CommandExt;
use std::process::Command;

use clearway_testkit::process::Process;
use clearway_testkit::{TempDir, clearway, wait};

/// Status, standard output and standard error of a call by another name.
fn call(name: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(clearway::binary());
    command.arg0(name).args(arguments).env("FOUND", "here");
    let mut process = Process::start(command);
    let status = process.wait(wait::LIMIT);
    let (out, err) = (process.stdout.to_end(), process.stderr.to_end());
    (status.code().unwrap_or(-1), out.join("\n"), err.join("\n"))
}

#[test]
fn haproxy_says_its_version_and_features() {
    let (status, out, err) = call("/usr/sbin/haproxy", &["-v"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("HAProxy version 2.6.12"), "{out}");
    let (status, out, _) = call("haproxy", &["-dM", "-vv"]);
    assert_eq!(status, 0);
    assert!(out.contains("+OPENSSL") && out.contains("-LUA"), "{out}");
    let (status, _, err) = call("haproxy", &["--bogus"]);
    assert!(status == 1 && err.starts_with("Usage : haproxy"), "{err}");
}

#[test]
fn haproxy_answers_conditions_by_its_status() {
    for (condition, expected) in [
        ("version_atleast(2.5-dev0) && feature(OPENSSL)", 0),
        ("defined(FOUND) && streq(\"$FOUND\",here)", 0),
        ("version_atleast(2.7)", 1),
        ("", 1),
        ("nonsense(", 2),
    ] {
        let (status, out, err) = call("haproxy", &["-cc", condition]);
        assert_eq!((status, out.as_str()), (expected, ""), "{condition}: {err}");
        let tells = err.contains(" : config : Failed to evaluate condition: unparsable");
        assert_eq!(tells, expected == 2, "{condition}: {err}");
    }
    assert_eq!(
        call("haproxy", &["-q", "-cc", "("]),
        (2, String::new(), String::new())
    );
}

#[test]
fn haproxy_tells_of_mistakes_with_their_places() {
    let folder = TempDir::new();
    let path = folder.write("h.cfg", "global\n.notice \"found $FOUND\"\n.foo\n");
    let (status, out, err) = call("haproxy", &["-c", "-f", &path]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(
        err.contains(&format!("config : parsing [{path}:2]: 'found here'.")),
        "{err}"
    );
    let alert = err.lines().find(|line| line.starts_with("[ALERT]    ("));
    let told = format!("config : parsing [{path}:3] : unknown directive '.foo'.");
    assert!(alert.is_some_and(|line| line.ends_with(&told)), "{err}");
    assert!(
        err.ends_with("config : Fatal errors found in configuration."),
        "{err}"
    );
    assert_eq!(
        call("haproxy", &["-q", "-c", "-f", &path]),
        (1, String::new(), String::new())
    );
    // In the background as well, whoever starts it hears of them.
    let (status, _, err) = call("haproxy", &["-D", "-f", &path]);
    assert!(status == 1 && err.contains(&told), "{err}");
}

#[test]
fn nginx_says_its_version_and_what_is_wrong() {
    let (status, out, err) = call("nginx", &["-v"]);
    assert_eq!((status, out.as_str()), (0, ""));
    assert_eq!(err, "nginx version: nginx/1.22.1");
    let (status, _, err) = call("nginx", &["-s", "jump"]);
    assert_eq!(
        (status, err.as_str()),
        (1, "nginx: invalid option: \"-s jump\"")
    );
    let folder = TempDir::new();
    let path = folder.write("n.conf", "pid none;\nevents {}\nbogus;\n");
    let (status, _, err) = call("nginx", &["-t", "-c", &path]);
    let last = format!("nginx: configuration file {path} test failed");
    assert!(status == 1 && err.ends_with(&last), "{err}");
    let (status, _, err) = call(
        "nginx",
        &["-s", "stop", "-c", &path, "-p", &folder.file("")],
    );
    assert!(
        status == 1 && err.contains("none\" failed (2: No such file or directory)"),
        "{err}"
    );
}
