//! The columns of HAProxy's statistics (version 2.6): names, order and tags are what existing tools read
//! by position, so nothing is left out and nothing comes between.

macro_rules! fields {
    ($($variant:ident = $name:literal, $tags:literal, $kind:ident;)+) => {
        /// A column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Field { $($variant,)+ }

        /// What is said about the columns, in their order.
        pub(super) const FIELDS: &[Column] = &[$(Column {
            field: Field::$variant,
            name: $name,
            tags: $tags,
            kind: stringify!($kind),
        },)+];
    };
}

/// What is said about a column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) name: &'static str,
    /// Letters for where a value comes from, what it is, and what it is about.
    pub(super) tags: &'static str,
    /// The type of its values.
    pub(super) kind: &'static str,
}

impl Column {
    /// Whether it counts since the start, so that `clear counters all` sets it to nought.
    pub(super) fn counts(&self) -> bool {
        self.tags.as_bytes().get(1) == Some(&b'C')
    }
}

/// The first column behind the one that is called `-`.
pub(super) const FIRST_OF_MODULES: Field = Field::SslSess;

fields! {
    Pxname = "pxname", "KNS", str;
    Svname = "svname", "KNS", str;
    Qcur = "qcur", "MGP", u32;
    Qmax = "qmax", "MMP", u32;
    Scur = "scur", "MGP", u32;
    Smax = "smax", "MMP", u32;
    Slim = "slim", "CLP", u32;
    Stot = "stot", "MCP", u64;
    Bin = "bin", "MCP", u64;
    Bout = "bout", "MCP", u64;
    Dreq = "dreq", "MCP", u64;
    Dresp = "dresp", "MCP", u64;
    Ereq = "ereq", "MCP", u64;
    Econ = "econ", "MCP", u64;
    Eresp = "eresp", "MCP", u64;
    Wretr = "wretr", "MCP", u64;
    Wredis = "wredis", "MCP", u64;
    Status = "status", "SGP", str;
    Weight = "weight", "MaP", u32;
    Act = "act", "SGP", u32;
    Bck = "bck", "SGP", u32;
    Chkfail = "chkfail", "MCP", u64;
    Chkdown = "chkdown", "MCP", u64;
    Lastchg = "lastchg", "MAP", u32;
    Downtime = "downtime", "MCP", u32;
    Qlimit = "qlimit", "CLS", u32;
    Pid = "pid", "KGP", u32;
    Iid = "iid", "KGS", u32;
    Sid = "sid", "KGS", u32;
    Throttle = "throttle", "MaP", u32;
    Lbtot = "lbtot", "MCP", u64;
    Tracked = "tracked", "KNS", str;
    Type = "type", "CGS", u32;
    Rate = "rate", "MRP", u32;
    RateLim = "rate_lim", "CLP", u32;
    RateMax = "rate_max", "MMP", u32;
    CheckStatus = "check_status", "MOP", str;
    CheckCode = "check_code", "MOP", u32;
    CheckDuration = "check_duration", "MDP", u64;
    Hrsp1xx = "hrsp_1xx", "MCP", u64;
    Hrsp2xx = "hrsp_2xx", "MCP", u64;
    Hrsp3xx = "hrsp_3xx", "MCP", u64;
    Hrsp4xx = "hrsp_4xx", "MCP", u64;
    Hrsp5xx = "hrsp_5xx", "MCP", u64;
    HrspOther = "hrsp_other", "MCP", u64;
    Hanafail = "hanafail", "MCP", u64;
    ReqRate = "req_rate", "MRP", u32;
    ReqRateMax = "req_rate_max", "MMP", u32;
    ReqTot = "req_tot", "MCP", u64;
    CliAbrt = "cli_abrt", "MCP", u64;
    SrvAbrt = "srv_abrt", "MCP", u64;
    CompIn = "comp_in", "MCP", u64;
    CompOut = "comp_out", "MCP", u64;
    CompByp = "comp_byp", "MCP", u64;
    CompRsp = "comp_rsp", "MCP", u64;
    Lastsess = "lastsess", "MAP", s32;
    LastChk = "last_chk", "MOP", str;
    LastAgt = "last_agt", "MOP", str;
    Qtime = "qtime", "MaP", u32;
    Ctime = "ctime", "MaP", u32;
    Rtime = "rtime", "MaP", u32;
    Ttime = "ttime", "MaP", u32;
    AgentStatus = "agent_status", "MOP", str;
    AgentCode = "agent_code", "MOP", u32;
    AgentDuration = "agent_duration", "MDP", u64;
    CheckDesc = "check_desc", "MOP", str;
    AgentDesc = "agent_desc", "MOP", str;
    CheckRise = "check_rise", "CGS", u32;
    CheckFall = "check_fall", "CGS", u32;
    CheckHealth = "check_health", "CGS", u32;
    AgentRise = "agent_rise", "CGS", u32;
    AgentFall = "agent_fall", "CGS", u32;
    AgentHealth = "agent_health", "CGS", u32;
    Addr = "addr", "CGS", str;
    Cookie = "cookie", "CNS", str;
    Mode = "mode", "CGS", str;
    Algo = "algo", "CGS", str;
    ConnRate = "conn_rate", "MRP", u32;
    ConnRateMax = "conn_rate_max", "MMP", u32;
    ConnTot = "conn_tot", "MCP", u64;
    Intercepted = "intercepted", "MCP", u64;
    Dcon = "dcon", "MCP", u64;
    Dses = "dses", "MCP", u64;
    Wrew = "wrew", "MCP", u64;
    Connect = "connect", "MCP", u64;
    Reuse = "reuse", "MCP", u64;
    CacheLookups = "cache_lookups", "MCP", u64;
    CacheHits = "cache_hits", "MCP", u64;
    SrvIcur = "srv_icur", "MGP", u32;
    SrcIlim = "src_ilim", "CLP", u32;
    QtimeMax = "qtime_max", "MMP", u32;
    CtimeMax = "ctime_max", "MMP", u32;
    RtimeMax = "rtime_max", "MMP", u32;
    TtimeMax = "ttime_max", "MMP", u32;
    Eint = "eint", "MCP", u64;
    IdleConnCur = "idle_conn_cur", "MGP", u32;
    SafeConnCur = "safe_conn_cur", "MGP", u32;
    UsedConnCur = "used_conn_cur", "MGP", u32;
    NeedConnEst = "need_conn_est", "MGP", u32;
    Uweight = "uweight", "MaP", u32;
    AggServerStatus = "agg_server_status", "MGP", u32;
    AggServerCheckStatus = "agg_server_check_status", "MGP", u32;
    AggCheckStatus = "agg_check_status", "MGP", u32;
    SslSess = "ssl_sess", "MCP", u64;
    SslReusedSess = "ssl_reused_sess", "MCP", u64;
    SslFailedHandshake = "ssl_failed_handshake", "MCP", u64;
    H2HeadersRcvd = "h2_headers_rcvd", "MCP", u64;
    H2DataRcvd = "h2_data_rcvd", "MCP", u64;
    H2SettingsRcvd = "h2_settings_rcvd", "MCP", u64;
    H2RstStreamRcvd = "h2_rst_stream_rcvd", "MCP", u64;
    H2GoawayRcvd = "h2_goaway_rcvd", "MCP", u64;
    H2DetectedConnProtocolErrors = "h2_detected_conn_protocol_errors", "MCP", u64;
    H2DetectedStrmProtocolErrors = "h2_detected_strm_protocol_errors", "MCP", u64;
    H2RstStreamResp = "h2_rst_stream_resp", "MCP", u64;
    H2GoawayResp = "h2_goaway_resp", "MCP", u64;
    H2OpenConnections = "h2_open_connections", "MGP", u64;
    H2BackendOpenStreams = "h2_backend_open_streams", "MGP", u64;
    H2TotalConnections = "h2_total_connections", "MCP", u64;
    H2BackendTotalStreams = "h2_backend_total_streams", "MCP", u64;
    H1OpenConnections = "h1_open_connections", "MGP", u64;
    H1OpenStreams = "h1_open_streams", "MGP", u64;
    H1TotalConnections = "h1_total_connections", "MCP", u64;
    H1TotalStreams = "h1_total_streams", "MCP", u64;
    H1BytesIn = "h1_bytes_in", "MCP", u64;
    H1BytesOut = "h1_bytes_out", "MCP", u64;
    H1SplicedBytesIn = "h1_spliced_bytes_in", "MCP", u64;
    H1SplicedBytesOut = "h1_spliced_bytes_out", "MCP", u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_tools_look_for_them() {
        for (place, name) in [
            (0, "pxname"),
            (17, "status"),
            (32, "type"),
            (62, "agent_status"),
            (103, "ssl_sess"),
            (126, "h1_spliced_bytes_out"),
        ] {
            assert_eq!(FIELDS[place].name, name);
            assert_eq!(FIELDS[place].field as usize, place);
        }
        assert_eq!(FIELDS.len(), 127);
        assert!(FIELDS.iter().all(|column| column.tags.len() == 3));
    }
}
