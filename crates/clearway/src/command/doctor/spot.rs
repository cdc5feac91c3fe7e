//! A server that is named on the command line.

use std::sync::Arc;

use clearway_config::survey::{self, Survey};
use clearway_control::examine::Reach;
use clearway_doctor::{Case, Subject};
use clearway_net::connect::Target;

use super::reach;
use super::sources::Spot;

impl Spot {
    pub(super) fn label(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix:{}", path.display()),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// A case that knows how it is reached; nothing else is known of a server that is just named.
    pub(super) fn case(&self, subject: &Subject) -> Case {
        let mut case = Case::open(subject.clone());
        case.set_survey(Arc::new(self.survey(subject)));
        case
    }

    /// A configuration with this one server, in which nothing is written anywhere.
    fn survey(&self, subject: &Subject) -> Survey {
        let tls = match (self.tls, self.sni()) {
            (Some(true), Some(name)) => format!("tls = {{ server_name = {name:?} }}"),
            (Some(true), None) => "tls = { verify = false }".to_owned(),
            _ => String::new(),
        };
        let text = format!(
            "[listener.a]\nbind = \"127.0.0.1:1\"\n[backend.a]\nservers = [{:?}]\n{tls}\n",
            subject.address
        );
        let mut survey = survey::native(&clearway_config::parse("", &text).config);
        survey.fronts.clear();
        survey.pitfalls.clear();
        for backend in &mut survey.backends {
            backend.name.clear();
            backend.origin = None;
            backend.keepalive.value = false;
            backend.ejection = None;
            let times = &mut backend.timeouts;
            for limit in [&mut times.connect, &mut times.send, &mut times.response] {
                limit.value = None;
            }
            for server in &mut backend.servers {
                server.name.clone_from(&subject.server);
                server.origin = None;
            }
            if let Some(tls) = &mut backend.tls {
                (tls.verify.origin, tls.sni.origin) = (None, None);
                tls.sni.value = self.sni();
            }
        }
        survey
    }

    /// The name asked for in TLS; addresses are not.
    fn sni(&self) -> Option<String> {
        let is_name = self.unix.is_none() && self.host.parse::<std::net::IpAddr>().is_err();
        is_name.then(|| self.host.clone())
    }

    /// How it is reached as it was written.
    pub(super) fn reach(&self, target: &Target) -> Result<Reach, String> {
        let name = self.sni();
        let mut reach = Reach {
            target: Some(target.clone()),
            host: name.clone(),
            ..Reach::default()
        };
        if self.tls == Some(true) {
            reach.tls = Some(reach::client_to(name.as_deref(), target)?);
            reach.sni = name;
        }
        Ok(reach)
    }
}
