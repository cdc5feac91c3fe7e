//! `clearway demo`: the main job on loopback, with servers that misbehave on purpose.
//!
//! Everything is inside this one process: four servers, the balancer, a trickle of requests, a live
//! table, and every failure as a receipt in words. Ctrl-C ends it.

mod client;
mod screen;
mod servers;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use clearway_base::clock;
use clearway_control::state::{Ask, State};
use clearway_control::supervisor::{Event, Supervisor};

use self::client::Trickle;
use self::screen::Screen;
use self::servers::Servers;
use super::{complain, say};

/// How often the screen is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// End after this many seconds instead of waiting for Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Requests per second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Port of the balancer on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        match self.show() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("clearway demo: {error}\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn show(&self) -> Result<(), Box<dyn std::error::Error>> {
        let servers = servers::start()?;
        let text = configuration(&servers, self.port);
        let screen = Screen::new();
        say(&introduction(&screen, &text));
        let (tell, hear) = mpsc::channel();
        let source = move || clearway_config::parse("demo.toml", &text);
        // A show that has ended does not listen any more.
        let events = move |event| drop(tell.send(event));
        // The supervisor's sockets belong to the runtime they are opened in.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let supervisor = Supervisor::start(Box::new(source), Box::new(events))?;
        drop(inside);
        let mut show = Show {
            state: supervisor.state(),
            hear,
            screen,
            trickle: None,
            rate: self.rate,
            limit: self.seconds.map(Duration::from_secs),
        };
        let show = std::thread::Builder::new()
            .name("demo-show".to_owned())
            .spawn(move || show.run())?;
        runtime.block_on(supervisor.run())?;
        drop(show.join());
        Ok(())
    }
}

/// What is seen while the balancer runs.
struct Show {
    state: Arc<State>,
    hear: Receiver<Event>,
    screen: Screen,
    trickle: Option<Trickle>,
    rate: u32,
    limit: Option<Duration>,
}

/// Addresses the balancer told about.
#[derive(Default)]
struct Addresses {
    web: Option<String>,
    admin: Option<String>,
}

impl Show {
    /// Shows until the supervisor drains or is gone.
    fn run(&mut self) {
        let Some(addresses) = self.wait_until_ready() else {
            return;
        };
        let address: Option<SocketAddr> = addresses.web.as_deref().and_then(|a| a.parse().ok());
        say(&self.invitation(&addresses));
        self.screen.admin = addresses.admin;
        match address.map(|address| client::start(address, self.rate)) {
            Some(Ok(trickle)) => self.trickle = Some(trickle),
            Some(Err(error)) => complain(&format!("clearway demo: no requests: {error}\n")),
            None => complain("clearway demo: the listener has no address\n"),
        }
        let started = clock::now();
        let mut asked = false;
        loop {
            match self.hear.recv_timeout(DRAW_EVERY) {
                Ok(Event::Draining) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::Reloaded(Ok(words) | Err(words))) => complain(&format!("{words}\n")),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let now = clock::now();
                    let text = self.screen.draw(&self.state, self.sent(), now);
                    say(&text);
                    if !asked && self.limit.is_some_and(|limit| now.since(started) >= limit) {
                        asked = true;
                        // A supervisor that is gone has ended already.
                        drop(self.state.asks.blocking_send(Ask::Shutdown));
                    }
                }
            }
        }
        self.finish(clock::now().since(started));
    }

    fn wait_until_ready(&self) -> Option<Addresses> {
        let mut addresses = Addresses::default();
        loop {
            match self.hear.recv().ok()? {
                Event::Listening(name, address) if name == "admin" => {
                    addresses.admin = Some(address);
                }
                Event::Listening(_, address) => addresses.web = Some(address),
                Event::Ready => return Some(addresses),
                Event::Reloading
                | Event::Reopened
                | Event::Upgrading
                | Event::Reloaded(_)
                | Event::News(_) => {}
                Event::Draining => return None,
            }
        }
    }

    fn invitation(&self, addresses: &Addresses) -> String {
        let web = addresses.web.as_deref().unwrap_or("-");
        let admin = addresses.admin.as_deref().unwrap_or("-");
        let ends = self.limit.map_or_else(
            || "Ctrl-C ends the demo.".to_owned(),
            |limit| format!("The demo ends after {} s, or with Ctrl-C.", limit.as_secs()),
        );
        format!(
            "{}\n\n    curl -i http://{web}/\n    clearway why ID --admin {admin}\n\n\
             {} requests a second are sent already, one in eight a POST. {ends}\n\n",
            self.screen.heading("Try in another terminal:"),
            self.rate,
        )
    }

    fn sent(&self) -> u64 {
        self.trickle
            .as_ref()
            .map_or(0, |trickle| trickle.seen.sent.load(Ordering::Relaxed))
    }

    /// Waits for the last answers and sums up.
    fn finish(&mut self, ran: Duration) {
        let seen = self
            .trickle
            .take()
            .map(|trickle| Arc::clone(&trickle.seen))
            .unwrap_or_default();
        let sent = seen.sent.load(Ordering::Relaxed);
        let text = self.screen.close(&self.state, sent, clock::now());
        say(&text);
        say(&format!(
            "{} {sent} requests in {} s: {} answered well, {} failed and explained, {} saved by a \
             retry.\n",
            self.screen.heading("The demo is over."),
            ran.as_secs(),
            seen.good.load(Ordering::Relaxed),
            self.screen.failed,
            self.screen.saved,
        ));
    }
}

fn introduction(screen: &Screen, text: &str) -> String {
    let text: String = text
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("    {line}\n")
            }
        })
        .collect();
    format!(
        "{}\n\n{text}\n",
        screen.heading("Four servers and a load balancer, all in this process. Its configuration:"),
    )
}

/// The configuration of the demo, as a newcomer would write it.
fn configuration(servers: &Servers, port: u16) -> String {
    let list: String = servers
        .list
        .iter()
        .map(|(habit, address)| {
            let name = format!("\"{}\",", habit.name());
            format!(
                "  {{ name = {name:<11} address = \"{address}\" }}, # {}\n",
                habit.what()
            )
        })
        .collect();
    format!(
        r#"[listener.web]
bind = "127.0.0.1:{port}"
backend = "app"

[backend.app]
servers = [
{list}]
health = {{ path = "/healthz", interval = "1s" }}
retries = {{ max = 2, on = ["connect", "reused"] }}

[timeouts]
response = "1s"

[process]
drain = "5s"

[admin]
listen = "127.0.0.1:0"

[log]
access = "off"
faults = "off"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_clean() {
        let servers = servers::start().expect("ports");
        let text = configuration(&servers, 0);
        let loaded = clearway_config::parse("demo.toml", &text);
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    }
}
