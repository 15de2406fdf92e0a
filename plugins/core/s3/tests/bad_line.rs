//! Hundreds of runs over a bad line: each ends with the right bytes or with an error, in time, and
//! leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use common::{bytes, connection, read, uri, write};
use gstneural_s3::{Checksum, ReadOptions, WriteOptions};
use gstneural_s3_rig::{At, Fault, FaultProxy, Op, Plan, Rule, Server};

const RUNS: u64 = 520;
const THREADS: u64 = 12;
const MIB: usize = 1 << 20;
/// Many times what a run takes at its worst.
const LIMIT: Duration = Duration::from_secs(60);

/// What a seed's run met: the chance of a fault rises with it, up to hopeless.
fn plan(seed: u64) -> Plan {
    let probability = [0.05, 0.15, 0.3, 0.6][(seed % 4) as usize];
    let mut faults = Fault::of_the_network();
    faults.push(Fault::FlipInRequest(At::Random));
    faults.push(Fault::error_in_200());
    let mut plan = Plan::default()
        .seed(seed)
        .hang_limit(Duration::from_secs(20));
    // A creation whose answer is lost makes an upload whose id nobody knows; no client can clean
    // that up (a lifecycle rule of the bucket does). So its answers are not lost.
    let safe = [
        Fault::slow_down(),
        Fault::internal_error(),
        Fault::ResetBefore,
    ];
    let aborts = Fault::slow_down();
    for fault in safe {
        plan = plan.rule(
            Rule::new(fault)
                .op(Op::CreateMultipartUpload)
                .probability(probability / 3.0),
        );
    }
    // Two aborts in a row may fail, not all of them: what is left then is said in the error.
    plan = plan.rule(
        Rule::new(aborts)
            .op(Op::AbortMultipartUpload)
            .times(2)
            .probability(probability),
    );
    let count = faults.len() as f64;
    for op in [
        Op::GetObject,
        Op::HeadObject,
        Op::PutObject,
        Op::UploadPart,
        Op::CompleteMultipartUpload,
        Op::ListParts,
    ] {
        for fault in &faults {
            let rule = Rule::new(fault.clone())
                .op(op)
                .probability(probability / count);
            plan = plan.rule(rule);
        }
    }
    plan
}

#[derive(Debug, Default)]
struct Tally {
    right: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    injected: AtomicU64,
    longest: Mutex<Duration>,
}

fn run(seed: u64, tally: &Tally) {
    let server = Server::start().unwrap();
    server.create_bucket("films").unwrap();
    let proxy = FaultProxy::start(server.addr(), plan(seed)).unwrap();
    let mut c = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    c.attempts = 4;
    c.request_timeout = Duration::from_millis(400);
    c.stall_timeout = Duration::from_millis(300);
    let length = match seed % 7 {
        0 => 0,
        1 => 1000,
        2 => MIB,
        _ => 5 * MIB + (seed as usize * 7919) % (11 * MIB),
    };
    let data = bytes(length, seed);
    let begun = Instant::now();
    let note = |error: &gstneural_s3::S3Error| {
        let mut errors = tally.errors.lock().unwrap();
        *errors
            .entry(format!(
                "{} {:?} {}",
                error.operation, error.kind, error.text
            ))
            .or_default() += 1;
    };

    let options = WriteOptions {
        part_bytes: WriteOptions::MIN_PART,
        parallel: 3,
        checksum: [Checksum::Crc64Nvme, Checksum::Crc32][(seed % 2) as usize],
        ..WriteOptions::default()
    };
    let written = write(&c, &uri("a"), options, &data);
    assert!(proxy.wait_until_idle(LIMIT), "{seed}: requests go on");
    let stored = server.get("films", "a").unwrap();
    match &written {
        Ok(finished) => {
            assert_eq!(finished.size, data.len() as u64);
            assert!(
                stored.as_ref() == Some(&data),
                "{seed}: wrong bytes were written"
            );
        }
        Err(error) => {
            note(error);
            // The server may have done what it could not say: then all of it, or nothing.
            assert!(
                stored.is_none_or(|s| s == data),
                "{seed}: half of it was written"
            );
        }
    }
    let left = server.pending_uploads().unwrap();
    let said =
        |error: &gstneural_s3::S3Error| left.iter().all(|u| error.text.contains(&u.upload_id));
    assert!(
        left.is_empty() || written.as_ref().is_err_and(said),
        "{seed}: orphans: {left:?}, {written:?}"
    );

    server.put("films", "b", &data).unwrap();
    let options = ReadOptions {
        range_bytes: 1 << 20,
        parallel: 4,
        ..ReadOptions::default()
    };
    let got = read(&c, &uri("b"), &options);
    match &got {
        // Bytes damaged on their way back are another test: no server states a sum for a range.
        Ok(got) => assert!(*got == data, "{seed}: wrong bytes were read"),
        Err(error) => note(error),
    }
    let took = begun.elapsed();
    assert!(took < LIMIT, "{seed}: {took:?}");
    let mut longest = tally.longest.lock().unwrap();
    *longest = longest.max(took);
    tally
        .right
        .fetch_add(u64::from(written.is_ok()) + u64::from(got.is_ok()), Relaxed);
    tally.injected.fetch_add(proxy.injected(), Relaxed);
}

#[test]
fn seeded_runs_end_with_the_right_bytes_or_with_an_error() {
    let tally = Tally::default();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= RUNS {
                        break;
                    }
                    run(seed, &tally);
                }
            });
        }
    });
    println!("{RUNS} runs: {tally:#?}");
    let (right, injected) = (tally.right.into_inner(), tally.injected.into_inner());
    assert!(injected > RUNS, "only {injected} faults");
    // A line that is this bad still lets most through, or the tries are worth nothing.
    assert!(
        right > RUNS,
        "only {right} of {} transfers came through",
        2 * RUNS
    );
}
