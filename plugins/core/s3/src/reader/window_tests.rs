#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

const MIB: u64 = 1 << 20;

/// Delivers planned ranges from an object whose bytes follow from their offsets.
fn deliver(window: &mut Window, plan: Plan) {
    for start in (plan.start..plan.end).step_by(100_000) {
        let end = plan.end.min(start + 100_000);
        let bytes: Vec<u8> = (start..end).map(byte).collect();
        assert!(window.received(plan.id, &bytes));
    }
    window.ended(plan.id, Ok(()));
}

fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(2654435761) >> 13) as u8
}

/// Reads like the reader does, with transfers that end at once; gives the plans made.
fn read(window: &mut Window, at: u64, length: usize) -> Vec<Plan> {
    let mut made = Vec::new();
    let mut buffer = vec![0; length];
    let mut done = 0;
    for _ in 0..1000 {
        done += window.copy(at + done as u64, &mut buffer[done..]);
        let plans = window.plan(at + done as u64, (length - done) as u64);
        for plan in &plans {
            deliver(window, *plan);
        }
        made.extend(plans);
        assert!(window.planned() <= window.budget, "memory is bounded");
        if done == length {
            break;
        }
    }
    let expected: Vec<u8> = (at..at + length as u64).map(byte).collect();
    assert_eq!(buffer, expected, "at {at}");
    made
}

#[test]
fn the_first_look_is_small_and_reading_on_ramps_up() {
    let mut window = Window::new(1000 * MIB, 4 * MIB, 8);
    let plans = window.plan(0, 16);
    assert_eq!(
        plans,
        [Plan {
            id: 0,
            start: 0,
            end: FIRST_BYTES
        }]
    );
    deliver(&mut window, plans[0]);
    let mut sizes = Vec::new();
    for step in 0..200 {
        let plans = read(&mut window, step * 256 * 1024, 256 * 1024);
        sizes.extend(plans.iter().map(|p| p.end - p.start));
    }
    assert_eq!(*sizes.iter().max().unwrap(), 4 * MIB);
    let small = sizes.iter().filter(|s| **s < FIRST_BYTES).count();
    assert_eq!(small, 0, "no request for crumbs: {sizes:?}");
    assert!(sizes.len() < 60, "few requests: {}", sizes.len());
}

#[test]
fn all_memory_is_used_ahead_of_a_steady_reader() {
    let mut window = Window::new(1000 * MIB, MIB, 8);
    read(&mut window, 0, 16 * MIB as usize);
    let ahead: u64 = window
        .ranges
        .iter()
        .filter(|r| r.end > 16 * MIB)
        .map(|r| r.end - r.start)
        .sum();
    assert!(ahead >= 6 * MIB, "{ahead}");
}

#[test]
fn two_places_in_turn_are_both_kept() {
    let mut window = Window::new(1000 * MIB, 4 * MIB, 8);
    let mut requests = 0;
    for step in 0..64 {
        requests += read(&mut window, step * 4096, 4096).len();
        requests += read(&mut window, 500 * MIB + step * 4096, 4096).len();
    }
    assert!(requests <= 20, "{requests}");
}

#[test]
fn the_end_of_the_object_ends_the_plans() {
    let mut window = Window::new(MIB + 1, 4 * MIB, 8);
    read(&mut window, 0, MIB as usize + 1);
    assert!(window.plan(MIB + 1, 1).is_empty());
    let last = window.ranges.iter().map(|r| r.end).max();
    assert_eq!(last, Some(MIB + 1));
}

#[test]
fn one_range_alone_works() {
    let mut window = Window::new(100 * MIB, 64 << 10, 1);
    for step in 0..50 {
        read(&mut window, step * 100_000, 100_000);
    }
}

#[test]
fn too_many_bytes_are_refused() {
    let mut window = Window::new(100, 64 << 10, 1);
    let plan = window.plan(0, 10)[0];
    assert!(window.received(plan.id, &[0; 60]));
    assert!(!window.received(plan.id, &[0; 60]));
    assert!(!window.received(plan.id + 1, &[0; 1]));
}

#[test]
fn random_reading_gives_the_right_bytes() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let size = rng.u64(1..20 * MIB);
        let range = rng.u64(64 << 10..4 * MIB);
        let mut window = Window::new(size, range, rng.u32(1..9));
        for _ in 0..30 {
            let at = rng.u64(0..size);
            let length = rng.u64(1..=(size - at).min(300_000)) as usize;
            read(&mut window, at, length);
        }
    }
}
