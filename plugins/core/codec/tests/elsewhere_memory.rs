//! Frames that are synthesised elsewhere take no more memory the more of them there are.
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use gstneural_codec::{
    BytePlanes, Config, Decoded, Decoder, Encoder, Format, FrameLatents, Lossy, Picture, Result,
    Synthesiser,
    bitstream::Chroma,
    nets::{Model, Sizes},
};

struct Counting;

/// Bytes that are in use.
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: everything is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Leaves pictures as they are: what they show does not matter here.
#[derive(Debug)]
struct Idle;

impl Synthesiser for Idle {
    fn synthesise(&self, _: &FrameLatents<'_>, _: &mut BytePlanes) -> Result<bool> {
        Ok(true)
    }
}

/// One test alone, or another's memory would count.
#[test]
fn memory_does_not_grow_with_frames() {
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
    let format = Format {
        width: 101,
        height: 230,
        chroma: Chroma::C420,
        depth: 8,
    };
    let config = Config {
        lossy: Some(Lossy::new(model.clone())),
        keyframe_interval: 10,
        ..Config::new(format)
    };
    let encoder = Encoder::new(config).unwrap();
    let mut encoder = encoder.synthesiser(Arc::new(Idle));
    let head = encoder.codec_data();
    let decoder = Decoder::with_models(&head, |_| Some(model.clone())).unwrap();
    let mut decoder = decoder.synthesiser(Arc::new(Idle));
    let picture = Picture::grey(format);
    let mut frame = Decoded::default();
    let mut run = |frames: usize| {
        let before = LIVE.load(Ordering::Relaxed);
        let mut encoding = 0;
        for _ in 0..frames {
            let (unit, grown) = {
                let before = LIVE.load(Ordering::Relaxed);
                let unit = encoder.encode(&picture).unwrap();
                let size = unit.capacity() as i64;
                (unit, LIVE.load(Ordering::Relaxed) - before - size)
            };
            encoding += grown;
            decoder.decode_into(&unit, &mut frame).unwrap();
        }
        let all = LIVE.load(Ordering::Relaxed) - before;
        [encoding, all - encoding]
    };
    run(40);
    let [encoding, decoding] = run(40);
    let frame = (101 * 230 * 3) as i64;
    assert!(
        encoding < frame,
        "encoding 40 frames: {encoding} bytes more, a frame has {frame}"
    );
    assert!(
        decoding < frame,
        "decoding 40 frames: {decoding} bytes more, a frame has {frame}"
    );
}
