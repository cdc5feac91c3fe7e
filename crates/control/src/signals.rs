//! What signals ask for, which depends on the program in whose place the process runs.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whose signals the process obeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Its own: SIGHUP reloads, SIGTERM and SIGINT finish what is in flight, SIGUSR1 opens logs anew.
    #[default]
    Own,
    /// Those of a process of HAProxy: SIGUSR1 finishes what is in flight, SIGTERM and SIGINT end at once.
    Haproxy,
    /// Those of HAProxy's master: the same, and SIGUSR2 and SIGHUP reload.
    HaproxyMaster,
    /// Those of NGINX's master: SIGHUP reloads, SIGQUIT finishes what is in flight, SIGTERM and SIGINT end at
    /// once, SIGUSR1 opens logs anew, SIGUSR2 starts the program anew beside this process.
    Nginx,
}

/// In whose place a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Whose signals it obeys.
    pub manner: Manner,
    /// Whether another process, which it is to take over from, may listen on the same addresses.
    pub takes_over: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Reload,
    /// End when what is in flight is finished.
    Drain,
    /// End now.
    Stop,
    /// Open logs anew.
    Reopen,
    /// Start the program anew, to take over.
    Upgrade,
    Nothing,
}

/// The signals that are obeyed, and those that must not end the process.
#[derive(Clone, Copy)]
enum Name {
    Hangup,
    Terminate,
    Interrupt,
    Quit,
    User1,
    User2,
}

impl Manner {
    fn wish(self, name: Name) -> Wish {
        match (self, name) {
            (Self::Own | Self::HaproxyMaster | Self::Nginx, Name::Hangup)
            | (Self::HaproxyMaster, Name::User2) => Wish::Reload,
            (Self::Own, Name::Terminate | Name::Interrupt)
            | (Self::Haproxy | Self::HaproxyMaster, Name::User1)
            | (Self::Nginx, Name::Quit) => Wish::Drain,
            (_, Name::Terminate | Name::Interrupt) => Wish::Stop,
            (Self::Own | Self::Nginx, Name::User1) => Wish::Reopen,
            (Self::Nginx, Name::User2) => Wish::Upgrade,
            (_, Name::Hangup | Name::Quit | Name::User2) => Wish::Nothing,
        }
    }
}

/// Waits for signals.
pub(crate) struct Signals {
    manner: Manner,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    /// Left to the system where they mean nothing to Clearway itself.
    quit: Option<Signal>,
    user2: Option<Signal>,
}

impl Signals {
    pub(crate) fn new(manner: Manner) -> std::io::Result<Self> {
        let others = |kind| (manner != Manner::Own).then(|| signal(kind)).transpose();
        Ok(Self {
            manner,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            quit: others(SignalKind::quit())?,
            user2: others(SignalKind::user_defined2())?,
        })
    }

    /// The wish of the next signal. Nothing is lost when it is dropped before.
    pub(crate) async fn next(&mut self) -> Wish {
        let name = tokio::select! {
            _ = self.hangup.recv() => Name::Hangup,
            _ = self.terminate.recv() => Name::Terminate,
            _ = self.interrupt.recv() => Name::Interrupt,
            _ = self.user1.recv() => Name::User1,
            () = received(&mut self.quit) => Name::Quit,
            () = received(&mut self.user2) => Name::User2,
        };
        self.manner.wish(name)
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_signals_of_its_own() {
        use Name::{Hangup, Interrupt, Quit, Terminate, User1, User2};
        let names = [Hangup, Terminate, Interrupt, Quit, User1, User2];
        let wishes = |manner: Manner| names.map(|name| manner.wish(name));
        use Wish::{Drain, Nothing, Reload, Reopen, Stop, Upgrade};
        assert_eq!(
            wishes(Manner::Own),
            [Reload, Drain, Drain, Nothing, Reopen, Nothing]
        );
        assert_eq!(
            wishes(Manner::Haproxy),
            [Nothing, Stop, Stop, Nothing, Drain, Nothing]
        );
        assert_eq!(
            wishes(Manner::HaproxyMaster),
            [Reload, Stop, Stop, Nothing, Drain, Reload]
        );
        assert_eq!(
            wishes(Manner::Nginx),
            [Reload, Stop, Stop, Drain, Reopen, Upgrade]
        );
    }
}
