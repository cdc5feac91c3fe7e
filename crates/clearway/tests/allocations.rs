//! A request over kept connections costs the worker no allocation once everything is warm.
//!
//! The data plane runs inside the test's own process, whose allocator counts what worker threads
//! ask of it. Clients, servers and control have threads of their own, which are not counted.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may panic and tell as tests do"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use clearway_control::supervisor::{Event, Supervisor};
use clearway_testkit::clearway::simple;
use clearway_testkit::{Client, Metrics, Server, TempDir, behave, wait};

/// The system's allocator, which counts what workers ask of it while [`COUNTING`].
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Who asked for the first few.
static WITNESSES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());
const WITNESSES_KEPT: usize = 8;
/// Held by each test, as all of them count in the same place.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// This thread is inside [`note`], which allocates itself.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

/// Counts an allocation of a worker thread and keeps the first few backtraces.
fn note() {
    if !COUNTING.load(Ordering::Relaxed) || NOTING.replace(true) {
        return;
    }
    let thread = std::thread::current();
    if thread.name().is_some_and(|n| n.starts_with("clearway-w")) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        let mut witnesses = WITNESSES.lock().unwrap_or_else(PoisonError::into_inner);
        if witnesses.len() < WITNESSES_KEPT {
            witnesses.push(Backtrace::force_capture());
        }
    }
    NOTING.set(false);
}

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; all work is the system's"
)]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc`, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The frames of a backtrace that lie in this workspace, innermost first.
fn own_frames(backtrace: &Backtrace) -> String {
    let text = backtrace.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let own = lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("at ") && pair[1].contains("crates/"))
        .map(|pair| format!("\n  {} {}", pair[0], pair[1]));
    format!("allocated by{}\n", own.collect::<String>())
}

/// What workers allocated while `work` ran, and who the first were.
fn counted(work: impl FnOnce()) -> (u64, String) {
    COUNT.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    work();
    COUNTING.store(false, Ordering::SeqCst);
    let witnesses = std::mem::take(&mut *WITNESSES.lock().unwrap());
    let text = witnesses.iter().map(own_frames).collect();
    (COUNT.load(Ordering::SeqCst), text)
}

/// A balancer inside this process.
struct Inside {
    web: String,
    admin: String,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    /// Starts one and waits until it is ready.
    fn start(text: String) -> Self {
        let (tell, hear) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let source = move || clearway_config::parse("test.toml", &text);
                let events = move |event| tell.send(event).unwrap_or_default();
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(async {
                        Supervisor::start(Box::new(source), Box::new(events))
                            .unwrap()
                            .run()
                            .await
                            .unwrap();
                    });
            })
            .unwrap();
        let mut inside = Self {
            web: String::new(),
            admin: String::new(),
            thread: Some(thread),
        };
        loop {
            match hear.recv_timeout(wait::LIMIT).unwrap() {
                Event::Listening(name, address) if name == "web" => inside.web = address,
                Event::Listening(_, address) => inside.admin = address,
                Event::Ready => return inside,
                Event::Reloading
                | Event::Reopened
                | Event::Upgrading
                | Event::Reloaded(_)
                | Event::News(_)
                | Event::Draining => {}
            }
        }
    }

    fn metrics(&self) -> Metrics {
        Metrics::fetch(&self.admin)
    }

    /// Ends it and waits for the end.
    fn stop(mut self) {
        let mut admin = Client::connect(&self.admin).to_host("localhost");
        assert!(admin.post("/api/v1/shutdown", "").status < 300);
        drop(admin);
        self.thread.take().unwrap().join().unwrap();
    }
}

const WARM: u64 = 2_000;
const MEASURED: u64 = 2_000;

/// Sends `exchange` over one connection until all is warm, and then as often again, counted.
fn allocates_nothing(text: &str, server: &Server, exchange: impl Fn(&mut Client)) {
    let _turn = turn();
    let folder = TempDir::new();
    let inside = Inside::start(format!(
        "{text}\n[process]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [log]\naccess = {:?}\nformat = \"json\"\nfaults = \"off\"\n",
        folder.file("access.log")
    ));
    let mut client = Client::connect(&inside.web);
    for _ in 0..WARM {
        exchange(&mut client);
    }
    let requests = |m: &Metrics| m.count("clearway_requests_total", &[("backend", "app")]);
    let before = wait::until("the warm-up to be counted", || {
        let now = requests(&inside.metrics());
        (now == WARM).then_some(now)
    });
    let (count, witnesses) = counted(|| {
        for _ in 0..MEASURED {
            exchange(&mut client);
        }
    });
    wait::until("the requests to be counted", || {
        (requests(&inside.metrics()) == before + MEASURED).then_some(())
    });
    let checks = wait::until("checks beside the requests", || {
        let seen = server.seen();
        let count = seen.iter().filter(|r| r.target == "/check").count();
        (count > 1).then_some(count)
    });
    println!("{count} allocations in {MEASURED} requests beside {checks} checks");
    drop(client);
    inside.stop();
    assert_eq!(
        count, 0,
        "allocations of the worker in {MEASURED} requests\n{witnesses}"
    );
}

/// One backend that is checked all the time.
fn config(server: &Server) -> String {
    simple(
        &[server.address()],
        "health = { path = \"/check\", interval = \"50ms\", fast_interval = \"50ms\" }",
    )
}

#[test]
fn kept_get_requests_allocate_nothing() {
    let server = Server::script(behave::ok("hello"));
    allocates_nothing(&config(&server), &server, |client| {
        assert_eq!(client.get("/a/b?c=d").status, 200);
    });
}

#[test]
fn routed_requests_with_bodies_allocate_nothing() {
    let server = Server::script(behave::echo_body());
    let text = format!(
        "{}[[route]]\nname = \"api\"\nhost = \"*.example.org\"\npath = \"/api/\"\nbackend = \"app\"\n\
         set_request_headers = {{ x-kind = \"api\" }}\nset_response_headers = {{ x-served-by = \"app\" }}\n",
        config(&server)
    );
    let body = "b".repeat(5_000);
    allocates_nothing(&text, &server, |client| {
        client.send(format!(
            "POST /api/x HTTP/1.1\r\nHost: one.example.org\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let response = client.response("POST");
        assert_eq!(response.body.len(), body.len());
        assert_eq!(response.header("x-served-by"), Some("app"));
    });
}

#[test]
fn chunked_messages_allocate_nothing() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n again\r\n0\r\n\r\n",
    ));
    allocates_nothing(&config(&server), &server, |client| {
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        );
        assert_eq!(client.response("POST").text(), "hello again");
    });
}

#[test]
fn values_that_logs_ask_for_allocate_nothing() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: a\r\n\r\nhello",
    ));
    let asked =
        "${header:user-agent} ${cookie:a} ${response_header:x-a} ${path} ${local_ip} ${local_port}";
    let text = format!(
        "{}[[listener.web.access_log]]\nto = \"/dev/null\"\nformat = \"haproxy_http\"\n\
         [[listener.web.access_log]]\nto = \"/dev/null\"\nformat = \"{asked}\"\nif = \"${{normal}}\"\n",
        config(&server)
    );
    allocates_nothing(&text, &server, |client| {
        let response = client.get_with("/a/b?c=d", "User-Agent: x\r\nCookie: a=b\r\n");
        assert_eq!(response.status, 200);
    });
}

#[test]
fn the_allocator_counts_what_workers_allocate() {
    let _turn = turn();
    let name = "clearway-w-not-really";
    let allocate = |name: &str| {
        let (count, _) = counted(|| {
            let work = || drop(std::hint::black_box(Box::new(1)));
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(work).unwrap().join().unwrap();
        });
        count
    };
    assert!(allocate(name) >= 1);
    assert_eq!(allocate("another"), 0);
}
