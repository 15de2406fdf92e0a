//! What lossy coding asks the allocator for once it has run for a while: on one thread nothing but
//! the bytes of the unit that the encoder hands out.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use gstneural_codec::{
    Config, Copying, Decoded, Decoder, Encoder, Format, Lossy, Picture, Rate,
    bitstream::Chroma,
    nets::{Model, Sizes},
};

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.load(Ordering::Relaxed);
    let out = work();
    (out, COUNT.load(Ordering::Relaxed) - before)
}

/// The moving pattern with this file's noise.
fn clip(format: Format, frames: usize) -> Vec<Picture> {
    common::clip(format, frames, 3)
}

/// Allocations of the encoder and the decoder for each of the last 20 frames of 60, of five that
/// repeat, with a keyframe every ten.
fn steady(model: &Arc<Model>, threads: usize, intra_only: bool) -> Vec<[u64; 2]> {
    let format = Format {
        width: 101,
        height: 230,
        chroma: Chroma::C420,
        depth: 8,
    };
    let config = Config {
        lossy: Some(Lossy {
            rate: Rate::Quality(20),
            scene_cuts: false,
            droppable: true,
            intra_only,
            copying: Copying::Pattern,
            ..Lossy::new(model.clone())
        }),
        keyframe_interval: 10,
        picture_crc: true,
        threads,
        ..Config::new(format)
    };
    let pictures = clip(format, 5);
    let mut encoder = Encoder::new(config).unwrap();
    let head = encoder.codec_data();
    let decoder = Decoder::with_models(&head, |_| Some(model.clone())).unwrap();
    let mut decoder = decoder.threads(threads);
    let mut frame = Decoded::default();
    let each = pictures.iter().cycle().take(60).map(|picture| {
        let (unit, encoding) = counted(|| encoder.encode(picture).unwrap());
        let (result, decoding) = counted(|| decoder.decode_into(&unit, &mut frame));
        result.unwrap();
        assert!(!frame.corrupt);
        [encoding, decoding]
    });
    each.skip(40).collect()
}

/// One test alone, or another's allocations would count.
#[test]
fn lossy_frames_allocate_no_more_than_the_unit() {
    let sizes = Sizes {
        groups: &[6, 10, 9],
        hidden: 8,
        features: 12,
        expanded: 20,
        blocks: 2,
        encoder_blocks: Some(1),
        inter: true,
    };
    let model = Arc::new(Model::synthetic(1, sizes).unwrap().0);
    for intra_only in [false, true] {
        let counts = steady(&model, 1, intra_only);
        assert_eq!(counts, [[1, 0]; 20], "intra: {intra_only}");
    }
    // Threads are started for each frame, and that takes memory: so much for each, however large
    // the frame. Encoding starts them twice, for the vectors and for the networks.
    // Which thread gets which scratch space is chance, and one that is rarely used may grow late: so
    // it is the usual frame that counts.
    let threads = 3;
    let counts = steady(&model, threads, false);
    let most = 12 * (threads as u64 - 1) + 8;
    for (side, most) in [(0, 1 + 2 * most), (1, most)] {
        let mut counts: Vec<_> = counts.iter().map(|c| c[side]).collect();
        counts.sort_unstable();
        assert!(counts[counts.len() / 2] <= most, "{counts:?}");
    }
}
