//! Checks that speak a protocol: `tcp-check` lines, and the options that stand for such lines.

use super::super::notes::Notes;
use super::proxy::Proxy;
use crate::diagnostic::Origins;
use crate::model::{CheckFailure, CheckStep, Pattern, SendProxy};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// Options that are checks of a protocol; of those that are set the last one holds.
pub(super) const OPTIONS: [&str; 7] = [
    "tcp-check",
    "ssl-hello-chk",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "smtpchk",
    "ldap-check",
];

/// A ClientHello of TLS 1.2 that any server answers: with a hello of its own or with an alert.
const CLIENT_HELLO: &str = "1603010037 01000033 0303 \
    54686973206973206120636865636b206f6620686561746820627920436c6561 00 \
    000a c02f009c002f0035000a 0100 0000";

/// The steps of a section's check; none where nothing is spoken.
pub(super) fn read(proxy: &Proxy, notes: &mut Notes) -> Vec<CheckStep> {
    let Some(line) = &proxy.spoken_check else {
        return Vec::new();
    };
    notes.begin(line.origin(), line.text());
    let origin = line.origin();
    let mut steps = match line.word(1) {
        "tcp-check" => return lines(proxy, notes),
        "ssl-hello-chk" => vec![
            send_hex(CLIENT_HELLO),
            CheckStep {
                fail_as: CheckFailure::Tls,
                ..pattern("^[\\x15\\x16]")
            },
        ],
        "redis-check" => vec![
            send("*1\r\n$4\r\nPING\r\n"),
            CheckStep {
                fail_as: CheckFailure::Status,
                words_at: Some(0),
                absent: true,
                ..pattern("^-")
            },
            CheckStep {
                pass_words: said("Redis server is ok"),
                words_at: None,
                ..text("+PONG\r\n")
            },
        ],
        "smtpchk" => mail(line),
        "ldap-check" => directory(),
        "mysql-check" => database(line),
        "pgsql-check" => {
            let user = if line.word(2) == "user" {
                line.word(3)
            } else {
                ""
            };
            let mut body = vec![0, 3, 0, 0];
            body.extend(b"user\0");
            body.extend(user.as_bytes());
            body.extend([0, 0]);
            let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
            let mut packet = length.to_be_bytes().to_vec();
            packet.extend(body);
            let refusal = CheckStep {
                absent: true,
                words_at: Some(6),
                ..pattern("^E")
            };
            let welcome = CheckStep {
                fail_as: CheckFailure::Status,
                pass_words: said("PostgreSQL server is ok"),
                fail_words: said("PostgreSQL unknown error"),
                ..at(0, "52")
            };
            vec![send_hex(&digits(&packet)), refusal, welcome]
        }
        _ => Vec::new(),
    };
    for step in &mut steps {
        step.origins = Origins::new(origin.clone());
    }
    steps
}

/// `option smtpchk [HELO NAME]`.
fn mail(line: &Line) -> Vec<CheckStep> {
    let (word, name) = match (line.word(2), line.word(3)) {
        (word @ ("HELO" | "EHLO"), name) if !name.is_empty() => (word, name),
        _ => ("HELO", "localhost"),
    };
    let speaks = CheckStep {
        words_at: Some(0),
        least_bytes: 4,
        ..pattern("^[0-9]{3}[ \\r-]")
    };
    let agrees = |expression: &str| CheckStep {
        fail_as: CheckFailure::Status,
        status_at: Some(0),
        words_at: Some(4),
        least_bytes: 4,
        ..pattern(expression)
    };
    vec![
        speaks,
        agrees("^2[0-9]{2}[ \\r-]"),
        send(&format!("{word} {name}\r\n")),
        agrees("(?m)^2[0-9]{2}[ \\r]"),
        send("QUIT\r\n"),
        agrees("^2[0-9]{2}[ \\r-]"),
    ]
}

/// `option ldap-check`: an anonymous bind of version 3 (RFC 4511 section 4.2).
fn directory() -> Vec<CheckStep> {
    vec![
        send_hex("300c020101600702010304008000"),
        CheckStep {
            fail_words: said("Not LDAPv3 protocol"),
            ..at(0, "30")
        },
        // The first message, which is a BindResponse.
        CheckStep {
            fail_words: said("Not LDAPv3 protocol"),
            ..hex("02010161")
        },
        CheckStep {
            fail_as: CheckFailure::Status,
            pass_words: said("Success"),
            fail_words: said("See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9"),
            status_at: Some(9),
            status_bytes: 1,
            words_at: Some(14),
            ..hex("0a0100")
        },
    ]
}

/// `option mysql-check [user NAME [post-41|pre-41]]`.
fn database(line: &Line) -> Vec<CheckStep> {
    // A greeting with version 10 of the protocol; the first byte is a length.
    let greeting = CheckStep {
        words_at: Some(5),
        ..at(1, "0000000a")
    };
    let refusal = CheckStep {
        absent: true,
        least_bytes: 5,
        fail_as: CheckFailure::Status,
        status_at: Some(5),
        status_bytes: 2,
        words_at: Some(7),
        ..at(4, "ff")
    };
    if line.word(2) != "user" {
        return vec![refusal, greeting];
    }
    let user = line.word(3).as_bytes();
    let mut body = if line.word(4) == "pre-41" {
        vec![0x00, 0x80, 0x00, 0x00, 0x01]
    } else {
        // What the client knows, the longest packet, the character set, and room that is not used.
        let mut begin = vec![0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 0x21];
        begin.extend([0; 23]);
        begin
    };
    body.extend(user);
    body.extend([0, 0]);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet: Vec<u8> = length.iter().copied().take(3).collect();
    packet.push(1);
    packet.extend(body);
    // Good-bye.
    packet.extend([1, 0, 0, 0, 1]);
    vec![
        refusal.clone(),
        greeting,
        send_hex(&digits(&packet)),
        refusal,
    ]
}

/// The lines of `tcp-check`.
fn lines(proxy: &Proxy, notes: &mut Notes) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    for line in &proxy.tcp_check {
        notes.begin(line.origin(), line.text());
        let words: Vec<&str> = line.texts(2).collect();
        let step = match line.word(1) {
            "connect" => connect(&words, notes),
            "send" => words.first().map(|text| send(text)),
            "send-binary" => words.first().map(|text| send_hex(text)),
            "expect" => expect(&words, notes),
            "comment" => None,
            other => {
                notes.refused(format!("{other:?} is not known here"));
                None
            }
        };
        if let Some(step) = &step
            && let Err(message) = sound(step)
        {
            notes.wrong(&line.origin(), message, "");
            continue;
        }
        if let Some(mut step) = step {
            step.origins = Origins::new(line.origin());
            steps.push(step);
        }
    }
    steps
}

/// Whether what is written in hexadecimal is.
fn sound(step: &CheckStep) -> Result<(), String> {
    let texts = [&step.send_hex, &step.expect_hex];
    for text in texts.into_iter().flatten() {
        if CheckStep::bytes(text).is_none() {
            return Err(format!("{text:?} is not hexadecimal"));
        }
    }
    Ok(())
}

fn connect(words: &[&str], notes: &mut Notes) -> Option<CheckStep> {
    let mut step = CheckStep {
        connect: true,
        ..CheckStep::default()
    };
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = match (*word, tail) {
            ("port", [port, tail @ ..]) => {
                step.port = port.parse().ok();
                if step.port.is_none() {
                    notes.refused("the port of a check cannot depend on anything");
                }
                tail
            }
            ("ssl", tail) => {
                step.tls = Some(true);
                tail
            }
            ("send-proxy", tail) => {
                step.send_proxy = Some(SendProxy::V1);
                tail
            }
            ("comment", [_, tail @ ..]) => tail,
            ("default" | "linger", tail) => tail,
            ("sni" | "alpn" | "proto", [_, tail @ ..]) => {
                notes.ineffective(format!("{word}: checks ask for no name and no protocol"));
                tail
            }
            (word, tail) => {
                notes.refused(format!("{word:?} is not known here"));
                tail
            }
        };
    }
    Some(step)
}

fn expect(words: &[&str], notes: &mut Notes) -> Option<CheckStep> {
    let mut least = 0;
    let mut rest = words;
    // What is said about the outcome stands before the test.
    while let [word, value, tail @ ..] = rest {
        match *word {
            "min-recv" => least = value.parse().unwrap_or(0),
            "comment" | "ok-status" | "error-status" | "tout-status" | "on-success"
            | "on-error" | "status-code" => {}
            _ => break,
        }
        rest = tail;
    }
    let (absent, rest) = match rest {
        ["!", tail @ ..] => (true, tail.to_vec()),
        [word, tail @ ..] if word.starts_with('!') => {
            let word = word.trim_start_matches('!');
            (true, [&[word], tail].concat())
        }
        all => (false, all.to_vec()),
    };
    let step = match rest.as_slice() {
        ["string", sought, ..] => text(sought),
        ["rstring", sought, ..] => match Pattern::parse(&format!("~{sought}")) {
            Ok(_) => pattern(sought),
            Err(problem) => {
                notes.refused(problem.message);
                return None;
            }
        },
        ["binary", sought, ..] => hex(sought),
        _ => {
            notes.refused("such an expectation is not known here");
            return None;
        }
    };
    Some(CheckStep {
        absent,
        least_bytes: least,
        ..step
    })
}

fn send(text: &str) -> CheckStep {
    CheckStep {
        send: Some(text.to_owned()),
        ..CheckStep::default()
    }
}

fn send_hex(text: &str) -> CheckStep {
    CheckStep {
        send_hex: Some(text.replace(' ', "")),
        ..CheckStep::default()
    }
}

fn text(sought: &str) -> CheckStep {
    CheckStep {
        expect: Some(Pattern::Text(sought.to_owned())),
        ..CheckStep::default()
    }
}

fn pattern(expression: &str) -> CheckStep {
    CheckStep {
        expect: Some(Pattern::Regex(expression.to_owned())),
        ..CheckStep::default()
    }
}

fn said(words: &str) -> Option<String> {
    Some(words.to_owned())
}

fn hex(digits: &str) -> CheckStep {
    CheckStep {
        expect_hex: Some(digits.to_owned()),
        ..CheckStep::default()
    }
}

fn at(place: u32, digits: &str) -> CheckStep {
    CheckStep {
        at: Some(place),
        ..hex(digits)
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
