//! What can be asked of `clearway doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clearway_telemetry::read::Zone;

/// What is to be examined, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Servers (`host:port`, `http://…`, `https://…`, `unix:/path`), and files of any kind named below,
    /// which are recognised by what is in them.
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// Configuration of Clearway.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Configuration of NGINX.
    #[arg(long, value_name = "FILE")]
    pub(super) nginx: Vec<PathBuf>,
    /// Configuration of HAProxy; may be given more than once, in HAProxy's order.
    #[arg(long, value_name = "FILE")]
    pub(super) haproxy: Vec<PathBuf>,
    /// Log of a balancer: a file, also compressed (.gz), a pattern in quotes, or `-`.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) log: Vec<String>,
    /// How lines of logs are made: a name or the text of NGINX's log_format, HAProxy's
    /// log-format or Envoy's text_format. Names: clearway, alb, haproxy, nginx-error, envoy,
    /// nginx-access.
    #[arg(long, value_name = "TEXT|NAME")]
    pub(super) log_format: Option<String>,
    /// HAProxy's `show stat`: a file of it, or its socket to be asked.
    #[arg(long, value_name = "FILE|SOCKET")]
    pub(super) stat: Vec<String>,
    /// HAProxy's `show errors`, in a file.
    #[arg(long, value_name = "FILE")]
    pub(super) errors: Vec<PathBuf>,
    /// What `aws elbv2 describe-target-health` says, in a file.
    #[arg(long, value_name = "FILE")]
    pub(super) target_health: Vec<PathBuf>,
    /// A service whose lines in the journal are read as its log.
    #[arg(long, value_name = "UNIT")]
    pub(super) journal: Vec<String>,
    /// Admin API of a running Clearway, whose open incidents are told too
    /// [default with -c: what the configuration says].
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<String>,
    /// Make no connection to any server.
    #[arg(long, conflicts_with = "probe")]
    pub(super) no_probe: bool,
    /// Probe also servers that only logs name; they must be reachable from here as from the balancer.
    #[arg(long)]
    pub(super) probe: bool,
    /// Leave out failures older than this: 30m, 2h, 1d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) since: Option<Duration>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub(super) format: Form,
    /// Columns of the text [default: those of the terminal].
    #[arg(long, value_name = "N")]
    pub(super) width: Option<usize>,
    /// Colours in the text.
    #[arg(long, alias = "color", value_enum, default_value_t = Colour::Auto)]
    pub(super) colour: Colour,
    /// Time zone of logs that name none [default: that of the access logs, else of this host].
    #[arg(long, value_name = "±HH:MM", value_parser = zone, allow_hyphen_values = true)]
    pub(super) timezone: Option<Zone>,
}

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For a reader at a terminal.
    Text,
    /// For programs; schema version 1.
    Json,
    /// For a ticket.
    Markdown,
}

/// When text is coloured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// At a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn duration(text: &str) -> Result<Duration, String> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(rest).unwrap_or_default();
    let factor = match rest {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err("write a number and its unit: 90s, 30m, 2h, 1d".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a number and its unit: 90s, 30m, 2h, 1d".to_owned())?;
    let seconds = number.checked_mul(factor).ok_or("that is too long")?;
    Ok(Duration::from_secs(seconds))
}

/// Reads `+01:00`, `-0530`, `Z`.
pub(super) fn zone(text: &str) -> Result<Zone, String> {
    let wrong = || "write it as +HH:MM, for example +01:00, or Z for UTC".to_owned();
    if matches!(text, "Z" | "UTC" | "utc") {
        return Ok(Zone(0));
    }
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        (None, None) => return Err(wrong()),
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 {
        return Err(wrong());
    }
    let number: i32 = digits.parse().map_err(|_| wrong())?;
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 15 || minutes > 59 {
        return Err(wrong());
    }
    Ok(Zone(sign * (hours * 3_600 + minutes * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_durations_are_read() {
        assert_eq!(zone("+01:00"), Ok(Zone(3_600)));
        assert_eq!(zone("-0530"), Ok(Zone(-19_800)));
        assert_eq!(zone("Z"), Ok(Zone(0)));
        for wrong in ["", "01:00", "+1", "+99:00", "+01:99", "+ab:cd"] {
            assert!(zone(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "2", "h", "2y", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
