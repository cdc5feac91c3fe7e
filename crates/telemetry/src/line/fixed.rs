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
        "${client_ip} - - [${end_time_clf}] \"${request,else=}\" ${status} ${body_out} \
         \"${header:referer}\" \"${header:user-agent}\"";
}
