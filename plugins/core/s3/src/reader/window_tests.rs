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
    let mut window = Window::new(1000 * MIB, 4 * MIB, 8, FIRST_BYTES);
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
    let mut window = Window::new(1000 * MIB, MIB, 8, FIRST_BYTES);
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
    let mut window = Window::new(1000 * MIB, 4 * MIB, 8, FIRST_BYTES);
    let mut requests = 0;
    for step in 0..64 {
        requests += read(&mut window, step * 4096, 4096).len();
        requests += read(&mut window, 500 * MIB + step * 4096, 4096).len();
    }
    assert!(requests <= 20, "{requests}");
}

#[test]
fn the_end_of_the_object_ends_the_plans() {
    let mut window = Window::new(MIB + 1, 4 * MIB, 8, FIRST_BYTES);
    read(&mut window, 0, MIB as usize + 1);
    assert!(window.plan(MIB + 1, 1).is_empty());
    let last = window.ranges.iter().map(|r| r.end).max();
    assert_eq!(last, Some(MIB + 1));
}

#[test]
fn one_range_alone_works() {
    let mut window = Window::new(100 * MIB, 64 << 10, 1, FIRST_BYTES);
    for step in 0..50 {
        read(&mut window, step * 100_000, 100_000);
    }
}

#[test]
fn too_many_bytes_are_refused() {
    let mut window = Window::new(100, 64 << 10, 1, FIRST_BYTES);
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
        let opening = [FIRST_BYTES, 8 * MIB][rng.usize(0..2)];
        let mut window = Window::new(size, range, rng.u32(1..9), opening);
        for _ in 0..30 {
            let at = rng.u64(0..size);
            let length = rng.u64(1..=(size - at).min(300_000)) as usize;
            read(&mut window, at, length);
        }
    }
}

#[test]
fn each_range_of_a_chain_is_longer_than_the_one_before() {
    let mut window = Window::new(1000 * MIB, 8 * MIB, 10, 8 * MIB);
    let plans = window.plan(0, 0);
    let sizes: Vec<_> = plans.iter().map(|p| p.end - p.start).collect();
    assert_eq!(sizes.len(), 10, "as many as may be: {sizes:?}");
    assert_eq!(
        sizes[0],
        8 * MIB,
        "read on from the beginning: a whole range"
    );
    assert!(
        sizes.iter().all(|s| (4 * MIB..=8 * MIB).contains(s)),
        "{sizes:?}"
    );
    assert!(sizes[1..].windows(2).all(|s| s[0] < s[1]), "{sizes:?}");
}

/// A line of which all answers that have begun get the same share, read as fast as bytes come: for
/// how many of how many milliseconds nothing moved.
fn over_a_line(size: u64, parallel: u32, opening: u64, latency_ms: u64) -> (u64, u64) {
    const BYTES_A_MS: u64 = MIB / 2;
    const BLOCK: u64 = 256 << 10;
    let mut window = Window::new(size, 8 * MIB, parallel, opening);
    let mut under_way = Vec::new();
    // The first range is asked for together with HEAD, the others when that is answered.
    for plan in window.plan(0, 0) {
        let way = if plan.start == 0 { 1 } else { 2 };
        under_way.push((plan, plan.start, way * latency_ms));
    }
    let zeros = vec![0; BYTES_A_MS as usize];
    let mut block = vec![0; BLOCK as usize];
    let (mut at, mut held, mut idle) = (0, 0, 0);
    for now in 0..100_000 {
        let begun = under_way.iter().filter(|(_, _, from)| *from <= now).count() as u64;
        idle += u64::from(begun == 0);
        for (plan, next, from) in &mut under_way {
            if *from <= now {
                let count = (BYTES_A_MS / begun).min(plan.end - *next);
                assert!(window.received(plan.id, &zeros[..count as usize]));
                *next += count;
                if *next == plan.end {
                    window.ended(plan.id, Ok(()));
                }
            }
        }
        under_way.retain(|(plan, next, _)| *next < plan.end);
        if now < latency_ms {
            continue;
        }
        loop {
            let wanted = (BLOCK - held).min(size - at);
            let count = window.copy(at, &mut block[..wanted as usize]) as u64;
            at += count;
            held = (held + count) % BLOCK;
            for plan in window.plan(at, wanted - count) {
                under_way.push((plan, plan.start, now + latency_ms));
            }
            assert!(window.planned() <= window.budget, "memory is bounded");
            if count == 0 || at == size {
                break;
            }
        }
        if at == size {
            return (idle, now + 1);
        }
    }
    panic!("it does not end");
}

#[test]
fn a_line_with_latency_is_kept_busy() {
    // Nothing comes before the first answer, and little between the first range and the answers to
    // the next ones; from then on the line is busy. Ranges of one length would leave it idle for a
    // way there and back with each 80 MiB.
    let first_range_ms = 16;
    for latency_ms in [5, 20, 50] {
        for size in [64, 128, 400] {
            let (idle, all) = over_a_line(size * MIB, 10, 8 * MIB, latency_ms);
            // The ranges of the first window end a little too close to each other for 50 ms.
            let limit = latency_ms + (latency_ms + 1u64).saturating_sub(first_range_ms);
            let limit = limit + latency_ms / 5;
            assert!(
                idle <= limit,
                "{size} MiB, {latency_ms} ms: {idle} of {all} ms idle"
            );
        }
    }
}
