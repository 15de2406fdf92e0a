//! `testcudasrc ! nnupscale ! testcudasink`: frames that never are anywhere but in CUDA memory. Runs
//! where nvcodec registers nothing, too.

use std::path::Path;

use gstneural_pixels::PixelFormat;

use super::{CUDA, Played, elements, play, play_from};

const SIZE: (usize, usize) = (96, 36);
const COUNT: usize = 5;
/// What the encoder and the decoder take, with bytes of a sample and how far it is shifted up.
const FORMATS: [(&str, PixelFormat, usize, u32); 4] = [
    ("NV12", PixelFormat::Nv12, 1, 0),
    ("P010_10LE", PixelFormat::P01010Le, 2, 6),
    ("RGBA", PixelFormat::Rgba, 1, 0),
    ("BGRA", PixelFormat::Bgra, 1, 0),
];

fn upscaler(properties: &str) -> String {
    super::element(&format!("precision=fp32 {properties}"))
}

fn caps(format: &str) -> String {
    let (w, h) = SIZE;
    format!("format={format},width={w},height={h},framerate=25/1")
}

/// On the device: `count` frames, each picture shown `hold` times.
fn on_device(format: &str, properties: &str, count: usize, hold: usize, collect: bool) -> Played {
    let source = format!("testcudasrc num-buffers={count} hold={hold}");
    play(&format!(
        "{source} ! {CUDA},{} ! {} ! testcudasink name=out collect={collect}",
        caps(format),
        upscaler(properties)
    ))
    .unwrap()
}

/// The same frames on the processor.
fn on_cpu(format: (&str, PixelFormat), properties: &str, count: usize, hold: usize) -> Played {
    let pictures = (0..count).map(|i| elements::picture(format.1, SIZE, i / hold));
    let source = format!(
        "appsrc name=in format=time caps=video/x-raw,{}",
        caps(format.0)
    );
    let pictures: Vec<_> = pictures.collect();
    play_from(
        &pictures,
        &format!(
            "{source} ! {} ! appsink name=out",
            upscaler(&format!("device=cpu {properties}"))
        ),
    )
    .unwrap()
}

/// The greatest difference of samples, in code values.
fn worst(a: &Played, b: &Played, bytes: usize, shift: u32) -> u32 {
    assert_eq!(a.frames.len(), b.frames.len());
    let value = |sample: &[u8]| {
        let wide = sample
            .iter()
            .rev()
            .fold(0u32, |v, b| v << 8 | u32::from(*b));
        wide >> shift
    };
    let pairs = a.frames.iter().zip(&b.frames).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.chunks(bytes).zip(b.chunks(bytes))
    });
    pairs
        .map(|(a, b)| value(a).abs_diff(value(b)))
        .max()
        .unwrap()
}

fn no_copies(played: &Played, frames: usize) {
    let [stats] = played.stats.as_slice() else {
        panic!("{:?}", played.stats)
    };
    let copies = (stats.copies_to_device, stats.copies_to_host);
    assert_eq!(copies, (0, 0), "{stats:?}");
    let wanted = ("cuda", frames as u64);
    assert_eq!((stats.device.as_str(), stats.frames), wanted);
    assert!(played.warnings.is_empty(), "{:?}", played.warnings);
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn nothing_leaves_the_device() {
    for (name, format, bytes, shift) in FORMATS {
        let found = on_device(name, "", COUNT, 1, true);
        no_copies(&found, COUNT);
        let wanted = on_cpu((name, format), "", COUNT, 1);
        assert_eq!(wanted.frames.len(), COUNT);
        let worst = worst(&found, &wanted, bytes, shift);
        // A GPU sums in another order.
        assert!(worst <= if shift == 0 { 1 } else { 2 }, "{name}: {worst}");
        assert!(wanted.frames[0] != wanted.frames[1], "pictures do not move");
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn two_in_a_row_need_no_host() {
    let both = format!("{0} ! {0}", upscaler(""));
    let found = play(&format!(
        "testcudasrc num-buffers={COUNT} ! {CUDA},{} ! {both} ! testcudasink name=out collect=true",
        caps("NV12")
    ))
    .unwrap();
    assert_eq!(found.frames.len(), COUNT);
    assert_eq!(found.frames[0].len(), 16 * SIZE.0 * SIZE.1 * 3 / 2);
    assert_eq!(found.stats.len(), 2);
    for stats in &found.stats {
        assert_eq!((stats.copies_to_device, stats.copies_to_host), (0, 0));
    }
}

/// Bytes that went between host and device since the program began, as the stand-in for the driver
/// counts them; None on a GPU, whose driver does not say.
fn copied_by_the_driver() -> Option<u64> {
    // SAFETY: the driver that is loaded already; the function takes nothing and gives a number.
    unsafe {
        let driver = libloading::Library::new(Path::new("libcuda.so.1")).unwrap();
        let count = driver
            .get::<unsafe extern "C" fn() -> u64>(b"fake_cuda_copied")
            .ok()?;
        Some(count())
    }
}

/// Whatever copied a frame, this crate or libgstcuda, the driver would know of it.
#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn the_driver_sees_no_copy_of_a_frame() {
    let taken = |frames: usize| {
        let before = copied_by_the_driver()?;
        let played = on_device("NV12", "", frames, 1, false);
        no_copies(&played, frames);
        Some(copied_by_the_driver()? - before)
    };
    let (Some(few), Some(many)) = (taken(3), taken(13)) else {
        eprintln!("a driver that does not count copies");
        return;
    };
    // Tables at the start, a few flags a frame; a frame has 5184 bytes.
    let each = (many - few) as f64 / 10.0;
    assert!((0.0..64.0).contains(&each), "{each} bytes a frame");
}

/// Frames that equal the one before and tiles that do, in one frame at a time and in batches: taken
/// from the result before, and the pictures are the processor's.
#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn what_did_not_change_is_not_upscaled_again() {
    // Most of a picture never moves; each is shown `hold` times. The first frame has nothing before
    // it. Of eight frames in pairs every second one is the one before, with all its tiles.
    let (nv12, rgba) = (FORMATS[0], FORMATS[2]);
    for ((name, format, bytes, shift), properties, hold, least, most) in [
        (nv12, "", 2, 0.5, 0.5),
        // Parts of the frames that move, too.
        (nv12, "tile=24", 2, 0.6, 0.9),
        (nv12, "tile=24 batch-size=4", 1, 0.3, 0.8),
        // A result that depends on more than its tile.
        (rgba, "tile=24", 2, 0.5, 0.5),
        // One that depends on more than its frame.
        (nv12, "stabilize=0.5", 2, 0.0, 0.0),
        (nv12, "compare=split", 2, 0.0, 0.0),
    ] {
        let found = on_device(name, properties, 8, hold, true);
        no_copies(&found, 8);
        let wanted = on_cpu((name, format), properties, 8, hold);
        let worst = worst(&found, &wanted, bytes, shift);
        assert!(worst <= 1, "{name} {properties}: {worst}");
        let (stats, on_cpu) = (&found.stats[0], &wanted.stats[0]);
        let share = stats.tiles_reused as f64 / stats.tiles as f64;
        assert!(
            (least..=most).contains(&share),
            "{name} {properties}: {stats:?}"
        );
        if hold == 2 {
            assert_eq!(
                stats.tiles_reused, on_cpu.tiles_reused,
                "{name} {properties}"
            );
        }
    }
}

/// Frames from and to system memory: compared where they lie, taken from the result on the device.
#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn what_did_not_change_is_kept_beside_system_memory() {
    let pictures: Vec<_> = (0..8)
        .map(|i| elements::picture(PixelFormat::Nv12, SIZE, i / 2))
        .collect();
    let source = format!(
        "appsrc name=in format=time caps=video/x-raw,{}",
        caps("NV12")
    );
    let of = |device: &str| {
        let element = upscaler(&format!("tile=24 device={device}"));
        let after = "video/x-raw ! appsink name=out";
        play_from(&pictures, &format!("{source} ! {element} ! {after}")).unwrap()
    };
    let (found, wanted) = (of("cuda"), of("cpu"));
    let worst = worst(&found, &wanted, 1, 0);
    assert!(worst <= 1, "{worst}");
    let (stats, on_cpu) = (&found.stats[0], &wanted.stats[0]);
    assert_eq!(stats.device, "cuda");
    assert!(stats.tiles_reused > 0);
    assert_eq!(stats.tiles_reused, on_cpu.tiles_reused);
    // Two planes each way, but for the four frames that were not upscaled.
    assert_eq!((stats.copies_to_device, stats.copies_to_host), (8, 8));
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn another_size_gets_the_slot_of_the_one_before() {
    let part = |w: u32| {
        let caps = format!("{CUDA},format=NV12,width={w},height=36,framerate=25/1");
        format!("testcudasrc num-buffers=3 ! {caps} ! c.")
    };
    let found = play(&format!(
        "concat name=c ! {} ! testcudasink name=out collect=true {} {}",
        upscaler("gpu-slots=1 device=cuda"),
        part(64),
        part(48)
    ))
    .unwrap();
    let lengths: Vec<_> = found.frames.iter().map(|f| f.len() / (72 * 3)).collect();
    assert_eq!(lengths, [64, 64, 64, 48, 48, 48]);
}
