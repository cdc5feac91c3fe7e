//! Choosing a server allocates nothing, with any algorithm, also when members are full or tried.

#![expect(
    unsafe_code,
    reason = "a global allocator that counts can only be unsafe"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use clearway_balance::{Algorithm, Ask, Member, Picker};
use clearway_base::clock::Stamp;
use clearway_base::hash::mix;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a plain
// thread-local cell without a destructor, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn picking_allocates_nothing() {
    for algorithm in Algorithm::ALL {
        let mut members: Vec<Member> = (1..50).map(|n| Member::new(mix(n), 100)).collect();
        members[3].weight = 40;
        for member in members.iter_mut().step_by(3) {
            (member.full, member.inflight) = (true, 1);
        }
        let mut picker = Picker::new(algorithm, 1);
        picker.rebuild(&members);
        let before = COUNT.get();
        let mut exclude = [0; 8];
        for n in 0..5_000 {
            let ask = Ask {
                key: (n % 2 == 0).then_some(n),
                exclude: exclude.get(..(n % 9) as usize).unwrap_or_default(),
                random: mix(n),
                now: Stamp(n),
                turns: None,
                spare: false,
            };
            let Some(index) = picker.pick(&members, &ask) else {
                panic!("{} chose nobody", algorithm.name())
            };
            exclude[(n % 8) as usize] = index;
            members[index].started();
            members[index].finished(Some(n), Stamp(n));
        }
        assert_eq!(COUNT.get() - before, 0, "{}", algorithm.name());
    }
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(COUNT.get() - before, 1, "the counter counts");
}
