//! What HAProxy and AWS report when they are asked, whole and damaged.

use super::*;

#[test]
fn columns_are_found_by_their_names() {
    let text = "# pxname,svname,qcur,scur,slim,econ,eresp,status,lastchg,downtime,chkfail,type,check_status,check_code,check_desc,last_chk,addr,\n\
         web,FRONTEND,,1,100,,,OPEN,,,,0,,,,,,\n\
         app,s1,2,3,50,7,8,DOWN,12,34,5,2,L7STS,404,\"Layer7 wrong status\",\"HTTP status, \"\"404\"\"\",10.0.0.2:80,\n\
         app,s2,0,0,,0,0,UP,12,0,0,2,* L4OK,,Layer4 check passed,,10.0.0.3:80,\n\
         app,BACKEND,2,3,50,7,8,UP,12,34,,1,,,,,,\n\n";
    let found = show_stat(text);
    assert_eq!(found.len(), 3);
    let [one, two, whole] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (one.backend.as_str(), one.server.as_str(), one.is_up()),
        ("app", "s1", false)
    );
    assert_eq!((one.check_status.as_str(), one.check_code), ("L7STS", 404));
    assert_eq!(one.last_check, "HTTP status, \"404\", Layer7 wrong status");
    assert_eq!(
        (one.changed_seconds, one.down_seconds, one.failed_checks),
        (Some(12), Some(34), Some(5))
    );
    assert_eq!(
        (one.connection_errors, one.response_errors),
        (Some(7), Some(8))
    );
    assert_eq!((one.sessions, one.queued), ((Some(3), Some(50)), Some(2)));
    assert_eq!(
        (two.check_status.as_str(), two.is_up(), two.sessions.1),
        ("L4OK", true, None)
    );
    assert_eq!(whole.server, "BACKEND");
    assert!(show_stat("hello").is_empty());
}

#[test]
fn captured_bytes_are_unescaped() {
    let text = "Total events captured on [21/Nov/2026:07:30:01.000] : 2\n \n\
         [21/Nov/2026:07:30:00.123] backend app (#3): invalid response\n  \
         frontend web (#2), server s1 (#1), event #1, src 192.0.2.7:4000\n  \
         buffer starts at 0 (including 0 out), 16362 free,\n  \
         len 22, wraps at 16336, error at position 20\n  \
         H1 connection flags 0x00000000, H1 stream flags 0x00004010\n \n  \
         00000  HTTP/1.1 200 OK\\r\\n\n  \
         00017  X Y: 1\\r\\n\n";
    let found = show_errors(text);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(one.is_response);
    assert_eq!(
        (one.proxy.as_str(), one.server.as_str(), one.client.as_str()),
        ("app", "s1", "192.0.2.7")
    );
    assert_eq!((one.position, one.length), (Some(20), Some(22)));
    assert_eq!(one.first.as_bytes(), b"HTTP/1.1 200 OK\r\nX Y: 1\r\n");
    assert_eq!(one.around, b"HTTP/1.1 200 OK\r\nX Y: 1\r\n");
    assert!(show_errors("hello\n[x] y").is_empty());
}

#[test]
fn targets_are_read() {
    let text = r#"{"TargetHealthDescriptions":[
        {"Target":{"Id":"10.0.0.2","Port":80},"HealthCheckPort":"80","TargetHealth":{"State":"unhealthy",
         "Reason":"Target.ResponseCodeMismatch","Description":"Health checks failed with these codes: [503]"}},
        {"Target":{"Id":"i-0f76","Port":8080},"TargetHealth":{"State":"healthy"}}]}"#;
    let found = target_health(text);
    assert_eq!(
        (found[0].server.as_str(), found[0].check_code),
        ("10.0.0.2:80", 503)
    );
    assert_eq!(
        (found[0].address.as_str(), found[0].is_up()),
        ("10.0.0.2:80", false)
    );
    assert_eq!(found[0].check_status, "Target.ResponseCodeMismatch");
    assert_eq!(
        (
            found[1].server.as_str(),
            found[1].address.as_str(),
            found[1].is_up()
        ),
        ("i-0f76:8080", "", true)
    );
    assert!(target_health("[]").is_empty() && target_health("x").is_empty());
}
