//! The line under real threads.

use std::pin::pin;
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

use clearway_base::rng::Rng;

use super::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; a wake-up that does not come within ten seconds is lost.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let started = clearway_base::clock::now();
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(10)),
        }
        let waited = clearway_base::clock::now().since(started);
        assert!(waited < Duration::from_secs(10), "lost wake-up");
    }
}

fn poll_once(wait: &mut Wait) -> Poll<Result<Slot, NoneOpen>> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn slots_are_counted_and_come_back() {
    let queue = Queue::new(4);
    let slots = Slots::new(&queue, 1, 2);
    let (a, b) = (slots.try_acquire().unwrap(), slots.try_acquire().unwrap());
    assert!(slots.try_acquire().is_none());
    drop(a);
    assert_eq!(slots.in_use(), 1);
    assert!(slots.try_acquire().is_some());
    drop(b);
    assert_eq!((slots.in_use(), queue.waiting()), (0, 0));
    let unlimited = Slots::new(&queue, 2, 0);
    let many: Vec<_> = (0..1_000).filter_map(|_| unlimited.try_acquire()).collect();
    assert_eq!((many.len(), unlimited.in_use()), (1_000, 1_000));
}

#[test]
fn first_come_first_served_across_threads() {
    let queue = Queue::new(100);
    let slots = Slots::new(&queue, 1, 1);
    let held = slots.try_acquire().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..20_usize)
        .map(|n| {
            let (queue, slots, order) =
                (Arc::clone(&queue), Arc::clone(&slots), Arc::clone(&order));
            let before = queue.waiting();
            let thread = thread::spawn({
                let queue = Arc::clone(&queue);
                move || {
                    let slot = block_on(queue.wait(&[slots]).unwrap()).unwrap();
                    order.lock().unwrap().push(n);
                    drop(slot);
                }
            });
            until(|| queue.waiting() > before);
            thread
        })
        .collect();
    drop(held);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!((slots.in_use(), queue.waiting()), (0, 0));
}

#[test]
fn newcomers_do_not_overtake_but_take_what_nobody_in_line_can_use() {
    let queue = Queue::new(4);
    let (a, b) = (Slots::new(&queue, 1, 1), Slots::new(&queue, 2, 1));
    let held = a.try_acquire().unwrap();
    let mut wait = queue.wait(&[Arc::clone(&a)]).unwrap();
    assert!(poll_once(&mut wait).is_pending());
    drop(held);
    assert!(a.try_acquire().is_none(), "the slot belongs to who waited");
    assert!(b.try_acquire().is_some());
    let Poll::Ready(Ok(slot)) = poll_once(&mut wait) else {
        panic!("not granted")
    };
    assert_eq!(slot.slots().key(), 1);
}

/// The moment between freeing a slot and looking for a line, frozen.
#[test]
fn a_slot_on_its_way_to_the_line_cannot_be_snatched() {
    let queue = Queue::new(4);
    let slots = Slots::new(&queue, 1, 1);
    let held = slots.try_acquire().unwrap();
    let choices = [Arc::clone(&slots)];
    let mut oldest = queue.wait(&choices).unwrap();
    slots.in_use.fetch_sub(1, SeqCst);
    assert!(slots.try_acquire().is_none());
    let mut younger = queue.wait(&choices).unwrap();
    assert!(poll_once(&mut younger).is_pending());
    queue.dispatch(&slots);
    assert!(poll_once(&mut younger).is_pending());
    let Poll::Ready(Ok(slot)) = poll_once(&mut oldest) else {
        panic!("not granted")
    };
    // The slot taken away above was this one's.
    slots.in_use.fetch_add(1, SeqCst);
    drop((held, slot, younger));
    assert_eq!((slots.in_use(), queue.waiting()), (0, 0));
}

#[test]
fn a_slot_goes_to_the_oldest_who_can_use_it() {
    let queue = Queue::new(4);
    let (a, b) = (Slots::new(&queue, 1, 1), Slots::new(&queue, 2, 1));
    let (held_a, held_b) = (a.try_acquire().unwrap(), b.try_acquire().unwrap());
    let mut only_a = queue.wait(&[Arc::clone(&a)]).unwrap();
    let mut any = queue.wait(&[Arc::clone(&a), Arc::clone(&b)]).unwrap();
    drop(held_b);
    assert!(poll_once(&mut only_a).is_pending());
    let Poll::Ready(Ok(slot)) = poll_once(&mut any) else {
        panic!("not granted")
    };
    assert_eq!(slot.slots().key(), 2);
    drop(held_a);
    assert!(poll_once(&mut only_a).is_ready());
}

#[test]
fn the_line_is_bounded() {
    let queue = Queue::new(2);
    let slots = Slots::new(&queue, 1, 1);
    let held = slots.try_acquire().unwrap();
    let choices = [Arc::clone(&slots)];
    let first = queue.wait(&choices).unwrap();
    let second = queue.wait(&choices).unwrap();
    let full = queue.wait(&choices).err().unwrap();
    assert_eq!(
        full.to_string(),
        "as many requests as may be wait for a slot already, see queue.size"
    );
    drop(first);
    let third = queue.wait(&choices).unwrap();
    drop((held, second, third));
    assert_eq!((slots.in_use(), queue.waiting()), (0, 0));
}

#[test]
fn cancelling_after_the_grant_hands_the_slot_on() {
    let queue = Queue::new(4);
    let slots = Slots::new(&queue, 1, 1);
    let held = slots.try_acquire().unwrap();
    let choices = [Arc::clone(&slots)];
    let first = queue.wait(&choices).unwrap();
    let mut second = queue.wait(&choices).unwrap();
    drop(held);
    assert!(poll_once(&mut second).is_pending());
    drop(first);
    assert!(matches!(poll_once(&mut second), Poll::Ready(Ok(_))));
    assert_eq!(slots.in_use(), 0);
}

#[test]
fn limits_and_closing_act_on_the_line() {
    let queue = Queue::new(4);
    let (a, b) = (Slots::new(&queue, 1, 1), Slots::new(&queue, 2, 1));
    let held = (a.try_acquire().unwrap(), b.try_acquire().unwrap());
    let mut only_a = queue.wait(&[Arc::clone(&a)]).unwrap();
    let mut any = queue.wait(&[Arc::clone(&a), Arc::clone(&b)]).unwrap();
    a.set_open(false);
    assert!(matches!(poll_once(&mut only_a), Poll::Ready(Err(NoneOpen))));
    a.set_limit(5);
    assert!(
        poll_once(&mut any).is_pending(),
        "a closed server gives no slots"
    );
    b.set_limit(2);
    assert!(matches!(poll_once(&mut any), Poll::Ready(Ok(_))));
    let mut late = queue.wait(&[Arc::clone(&a)]).unwrap();
    assert!(matches!(poll_once(&mut late), Poll::Ready(Err(NoneOpen))));
    a.set_open(true);
    assert!(a.try_acquire().is_some());
    drop(held);
    assert_eq!((a.in_use(), b.in_use(), queue.waiting()), (0, 0, 0));
}

/// Threads take, wait, cancel and change limits at random. Limits hold at every moment, everyone
/// gets a slot in the end, and nothing is left over.
#[test]
fn no_wake_up_is_lost_under_load() {
    const LIMIT: u32 = 2;
    let queue = Queue::new(1_000);
    let servers = [Slots::new(&queue, 0, LIMIT), Slots::new(&queue, 1, LIMIT)];
    let busy: Arc<[AtomicU32; 2]> = Arc::default();
    let threads: Vec<_> = (0..8_u64)
        .map(|seed| {
            let (queue, servers, busy) = (Arc::clone(&queue), servers.clone(), Arc::clone(&busy));
            thread::spawn(move || {
                let mut rng = Rng::new(seed);
                for _ in 0..2_000 {
                    let pinned = usize::try_from(rng.below(3)).unwrap();
                    let choices = servers.get(pinned..=pinned).unwrap_or(&servers);
                    let fast = choices[0].try_acquire().filter(|_| rng.below(2) == 0);
                    let slot = match fast {
                        Some(slot) => slot,
                        None => {
                            let mut wait = queue.wait(choices).unwrap();
                            if rng.below(4) == 0 {
                                // Cancelled before, between or after polls.
                                if rng.below(2) == 0 {
                                    drop(poll_once(&mut wait));
                                }
                                continue;
                            }
                            block_on(wait).unwrap()
                        }
                    };
                    let server = usize::try_from(slot.slots().key()).unwrap();
                    assert!(busy[server].fetch_add(1, SeqCst) < LIMIT);
                    if rng.below(8) == 0 {
                        thread::yield_now();
                    }
                    busy[server].fetch_sub(1, SeqCst);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(queue.waiting(), 0);
    assert!(servers.iter().all(|s| s.in_use() == 0));
    assert!(queue.lock().waiters.is_empty());
}
