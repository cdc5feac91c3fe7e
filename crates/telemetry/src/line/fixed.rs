//! Formats of HAProxy and NGINX as templates.

use super::Escape;

macro_rules! fixed {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $escape:ident $empty:literal $text:literal;)+) => {
        /// A format that is a template with a name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fixed { $($(#[doc = $doc])+ $variant,)+ }

        impl Fixed {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, as a sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }

            /// The template.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// How bytes of strangers are written.
            #[must_use]
            pub fn escape(self) -> Escape {
                match self { $(Self::$variant => Escape::$escape,)+ }
            }

            /// What stands in the place of a value that is empty or not there.
            #[must_use]
            pub fn empty(self) -> &'static str {
                match self { $(Self::$variant => $empty,)+ }
            }
        }
    };
}

fixed! {
    /// HAProxy's `option httplog`, without captured headers.
    HaproxyHttp = "haproxy_http" Haproxy "-"
        "${client} [${time_haproxy}] ${haproxy_listener} ${haproxy_backend}/${haproxy_server} \
         ${head_ms}/${queue_ms}/${connect_ms}/${response_ms}/${total_ms} ${haproxy_status} ${bytes_out} \
         - - ${haproxy_state} ${process_connections,else=0}/${listener_connections,else=0}/\
         ${backend_connections}/${server_connections,else=0}/${haproxy_retries} \
         0/${backend_queue,else=0} \"${haproxy_request}\"";
    /// HAProxy's `option tcplog`.
    HaproxyTcp = "haproxy_tcp" Haproxy "-"
        "${client} [${time_haproxy}] ${haproxy_listener} ${haproxy_backend}/${haproxy_server} \
         ${queue_ms}/${connect_ms}/${total_ms} ${bytes_out} ${haproxy_state_tcp} \
         ${process_connections,else=0}/${listener_connections,else=0}/${backend_connections}/\
         ${server_connections,else=0}/${haproxy_retries} 0/${backend_queue,else=0}";
    /// HAProxy's `option httplog clf`, without captured headers.
    HaproxyClf = "haproxy_clf" Haproxy "-"
        "${client_ip} - - [${time_clf}] \"${haproxy_request}\" ${haproxy_status} ${bytes_out} \"\" \"\" \
         ${client_port} ${time_millis} \"${haproxy_listener}\" \"${haproxy_backend}\" \"${haproxy_server}\" \
         ${head_ms} ${queue_ms} ${connect_ms} ${response_ms} ${total_ms} ${haproxy_state} \
         ${process_connections,else=0} ${listener_connections,else=0} ${backend_connections} \
         ${server_connections,else=0} ${haproxy_retries} 0 ${backend_queue,else=0} \"\" \"\" ";
    /// HAProxy without `option httplog` or `tcplog`.
    HaproxyDefault = "haproxy_default" Haproxy "-"
        "Connect from ${client} to ${local_ip}:${local_port} (${listener}/${haproxy_mode})";
    /// NGINX's `combined`.
    NginxCombined = "nginx_combined" Nginx "-"
        "${client_ip} - ${remote_user} [${end_time_clf}] \"${request,else=}\" ${status} ${body_out} \
         \"${header:referer}\" \"${header:user-agent}\"";
}

#[cfg(test)]
mod tests {
    use clearway_outcome::Protocol;

    use super::*;
    use crate::line::parcel::Values;
    use crate::line::{Layout, Template};
    use crate::sample;

    fn line(fixed: Fixed, protocol: Protocol) -> String {
        let attempts = [sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        (record.fault, record.status, record.protocol) = (attempts[0].fault, 503, protocol);
        record.target = b"/a\"#{\xe9";
        let template = Template::parse(fixed.text(), &mut |_| Ok(())).unwrap();
        let layout = Layout::template(template, fixed.escape(), fixed.empty());
        let mut out = Vec::new();
        layout.write(&record, Values::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_look_as_those_of_the_others() {
        let http = line(Fixed::HaproxyHttp, Protocol::Http11);
        let tail = http.split_once("] ").unwrap().1;
        assert_eq!(
            tail,
            "web app/a 0/0/-1/-1/5 503 160 - - SC-- 0/0/2/0/0 0/0 \"GET /a#22#23{#E9 HTTP/1.1\"\n"
        );
        let tcp = line(Fixed::HaproxyTcp, Protocol::Tcp);
        let tail = tcp.split_once("] ").unwrap().1;
        assert_eq!(tail, "web app/a 0/-1/5 160 SC 0/0/2/0/0 0/0\n");
        let clf = line(Fixed::HaproxyClf, Protocol::Http11);
        let (head, tail) = clf.split_once("] ").unwrap();
        assert!(
            head.starts_with("192.0.2.7 - - [") && head.ends_with(" +0000"),
            "{clf}"
        );
        let (tail, after) = tail.split_once(" \"\" \"\" 4000 ").unwrap();
        assert_eq!(tail, "\"GET /a#22#23{#E9 HTTP/1.1\" 503 160");
        let after = after.split_once(' ').unwrap().1;
        assert_eq!(
            after,
            "\"web\" \"app\" \"a\" 0 0 -1 -1 5 SC-- 0 0 2 0 0 0 0 \"\" \"\" \n"
        );
        let plain = line(Fixed::HaproxyDefault, Protocol::Http11);
        assert_eq!(plain, "Connect from 192.0.2.7:4000 to -:- (web/HTTP)\n");
        let nginx = line(Fixed::NginxCombined, Protocol::Http11);
        let tail = nginx.split_once("] ").unwrap().1;
        assert_eq!(tail, "\"GET /a\\x22#{\\xE9 HTTP/1.1\" 503 12 \"-\" \"-\"\n");
    }
}
