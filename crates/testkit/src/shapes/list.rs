//! The shapes themselves.

use super::{Ask, Body, Finish, Protocol, Shape, Tell, Until};
use crate::behave::pattern;

const MEGABYTE: usize = 1 << 20;

const GET: Ask = Ask {
    method: "GET",
    fields: &[("x-ask", "asked")],
    cookies: &[],
    body: Body::None,
    trailers: &[],
    waits: false,
    until: Until::End,
};

const ENOUGH: Ask = Ask {
    until: Until::Enough,
    ..GET
};

const OK: Tell = Tell {
    interim: &[],
    status: 200,
    fields: &[("x-tell", "told")],
    body: Body::None,
    trailers: &[],
    early: false,
    finish: Finish::Well,
};

fn sized(text: &str) -> Body {
    Body::Sized(text.as_bytes().to_vec())
}

fn streamed(pieces: &[&str]) -> Body {
    Body::Streamed(pieces.iter().map(|p| p.as_bytes().to_vec()).collect())
}

fn large() -> Body {
    Body::Streamed(
        pattern(MEGABYTE)
            .chunks(50_000)
            .map(<[u8]>::to_vec)
            .collect(),
    )
}

fn shape(name: &'static str, ask: Ask, tell: Tell) -> Shape {
    Shape {
        name,
        ask,
        tell,
        times: 1,
        clients: &[Protocol::H1, Protocol::H2],
    }
}

fn post(body: Body) -> Ask {
    Ask {
        method: "POST",
        body,
        ..GET
    }
}

fn ok(body: Body) -> Tell {
    Tell { body, ..OK }
}

fn endless(finish: Finish) -> Tell {
    Tell {
        finish,
        ..ok(streamed(&["the first of many"]))
    }
}

/// All shapes.
#[must_use]
pub fn all() -> Vec<Shape> {
    let mut all = plain();
    all.extend(unusual());
    all.extend(unfinished());
    all
}

fn plain() -> Vec<Shape> {
    vec![
        shape("get", GET, ok(sized("hello"))),
        shape("get-streamed", GET, ok(streamed(&["some ", "pieces"]))),
        shape("get-empty", GET, ok(sized(""))),
        shape("get-large", GET, ok(Body::Sized(pattern(MEGABYTE)))),
        shape("get-large-streamed", GET, ok(large())),
        shape(
            "head",
            Ask {
                method: "HEAD",
                ..GET
            },
            ok(sized("hello")),
        ),
        shape("post", post(sized("a body")), ok(sized("thanks"))),
        shape("post-empty", post(sized("")), ok(sized("thanks"))),
        shape(
            "post-streamed",
            post(streamed(&["a ", "body in ", "pieces"])),
            ok(sized("thanks")),
        ),
        shape(
            "post-large",
            post(Body::Sized(pattern(MEGABYTE))),
            ok(sized("thanks")),
        ),
        shape("post-large-both-ways", post(large()), ok(large())),
        shape(
            "put",
            Ask {
                method: "PUT",
                ..post(sized("x"))
            },
            Tell { status: 201, ..OK },
        ),
        shape(
            "delete",
            Ask {
                method: "DELETE",
                ..GET
            },
            Tell { status: 204, ..OK },
        ),
        shape(
            "not-modified",
            GET,
            Tell {
                status: 304,
                fields: &[("etag", "\"v1\"")],
                ..OK
            },
        ),
        shape(
            "server-error",
            GET,
            Tell {
                status: 500,
                ..ok(sized("broken"))
            },
        ),
    ]
}

fn unusual() -> Vec<Shape> {
    vec![
        shape(
            "trailers-up",
            Ask {
                trailers: &[("x-sum", "17")],
                ..post(streamed(&["some", "thing"]))
            },
            ok(sized("thanks")),
        ),
        shape(
            "trailers-down",
            Ask {
                fields: &[("te", "trailers")],
                ..GET
            },
            Tell {
                trailers: &[("x-sum", "42"), ("grpc-status", "0")],
                ..ok(streamed(&["some", "thing"]))
            },
        ),
        shape(
            "early-hints",
            GET,
            Tell {
                interim: &[(103, &[("link", "</style.css>; rel=preload")])],
                ..ok(sized("hinted"))
            },
        ),
        shape(
            "continue",
            Ask {
                waits: true,
                ..post(sized("worth waiting for"))
            },
            ok(sized("thanks")),
        ),
        shape(
            "early-answer",
            Ask {
                until: Until::Early,
                ..post(large())
            },
            Tell {
                status: 413,
                early: true,
                ..ok(sized("too large"))
            },
        ),
        shape(
            "cookies",
            Ask {
                cookies: &["a=1", "b=2", "c=3"],
                ..GET
            },
            ok(sized("sweet")),
        ),
        Shape {
            times: 20,
            ..shape("parallel", post(sized("one of many")), ok(sized("each")))
        },
    ]
}

fn unfinished() -> Vec<Shape> {
    vec![
        shape("cancelled", ENOUGH, endless(Finish::Endless)),
        // Over HTTP/1 the end of a client shows for certain when something is written to it.
        Shape {
            clients: &[Protocol::H2],
            ..shape("cancelled-in-silence", ENOUGH, endless(Finish::Held))
        },
        shape(
            "cut",
            GET,
            Tell {
                finish: Finish::Cut,
                ..ok(sized("this will not arrive as a whole"))
            },
        ),
        shape(
            "cut-streamed",
            GET,
            Tell {
                finish: Finish::Cut,
                ..ok(streamed(&["this will ", "not end"]))
            },
        ),
    ]
}
