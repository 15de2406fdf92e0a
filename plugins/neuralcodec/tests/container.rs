//! Files: what goes into Matroska comes out again, in time, and players can seek in it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::init;

use std::path::Path;

use gst::prelude::*;

const SECONDS: u64 = 20;

/// Stops the pipeline when the test is over, however that is.
struct Playing(gst::Pipeline);

impl Playing {
    fn new(description: &str) -> Self {
        init();
        let pipeline = gst::parse::launch(description).unwrap();
        Self(pipeline.downcast::<gst::Pipeline>().unwrap())
    }

    /// Runs it to its end; the error, if that was the end.
    fn run(&self) -> Option<String> {
        self.0.set_state(gst::State::Playing).unwrap();
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = self.0.bus().unwrap();
        let message = bus
            .timed_pop_filtered(gst::ClockTime::from_seconds(SECONDS), &wanted)
            .expect("it ends");
        match message.view() {
            gst::MessageView::Error(e) => Some(e.error().to_string()),
            _ => None,
        }
    }

    fn sink(&self, name: &str) -> gst_app::AppSink {
        self.0.by_name(name).unwrap().downcast().unwrap()
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

fn next(sink: &gst_app::AppSink) -> Option<gst::Sample> {
    sink.try_pull_sample(gst::ClockTime::from_seconds(SECONDS))
}

type Shown = (Option<gst::ClockTime>, Vec<u8>);

fn of(sample: &gst::Sample) -> Shown {
    let buffer = sample.buffer().unwrap();
    (buffer.pts(), buffer.map_readable().unwrap().to_vec())
}

/// All frames that `description`, which ends in `appsink name=s`, makes.
fn frames(description: &str) -> Vec<Shown> {
    let playing = Playing::new(description);
    let sink = playing.sink("s");
    playing.0.set_state(gst::State::Playing).unwrap();
    std::iter::from_fn(|| next(&sink)).map(|s| of(&s)).collect()
}

const VIDEO: &str = "videotestsrc num-buffers=75 pattern=ball ! video/x-raw,format=I420,width=96,height=66,framerate=25/1";

/// A file of three seconds with sound, a keyframe every 10 frames.
fn file(dir: &Path) -> String {
    let path = dir.join("clip.mkv").display().to_string();
    let playing = Playing::new(&format!(
        "neuralmkvmux name=m ! filesink location={path} {VIDEO} ! neuralenc keyint=10 ! m. \
         audiotestsrc num-buffers=141 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! m."
    ));
    assert_eq!(playing.run(), None);
    path
}

#[test]
fn pictures_times_and_sound_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path());
    let made = frames(&format!("{VIDEO} ! appsink name=s sync=false"));
    let read = frames(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    assert_eq!(made.len(), 75);
    assert!(made == read, "pictures and times are the same");

    // What players use finds the decoder by itself, beside the sound's.
    let playing = Playing::new(&format!(
        "filesrc location={path} ! decodebin name=d d. ! queue ! video/x-raw ! appsink name=s sync=false \
         d. ! queue ! audio/x-raw ! appsink name=a sync=false"
    ));
    let (video, audio) = (playing.sink("s"), playing.sink("a"));
    playing.0.set_state(gst::State::Playing).unwrap();
    let sound = std::iter::from_fn(|| next(&audio))
        .map(|s| s.buffer().unwrap().duration().unwrap_or_default())
        .sum::<gst::ClockTime>();
    let pictures: Vec<Shown> = std::iter::from_fn(|| next(&video))
        .map(|s| of(&s))
        .collect();
    assert!(pictures == made);
    assert!(
        sound.mseconds().abs_diff(3008) < 40,
        "{sound} of sound for 141 * 1024 samples"
    );
}

#[test]
fn a_layer_goes_through_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.mkv").display().to_string();
    let video = VIDEO.replace("num-buffers=75", "num-buffers=12");
    let playing = Playing::new(&format!(
        "{video} ! neuralenc keyint=5 quality=14 layer=lossless ! neuralmkvmux ! filesink location={path}"
    ));
    assert_eq!(playing.run(), None);
    let made = frames(&format!("{video} ! appsink name=s sync=false"));
    let read = |layers: &str| {
        frames(&format!(
            "filesrc location={path} ! matroskademux ! neuraldec layers={layers} ! appsink name=s sync=false"
        ))
    };
    assert!(read("all") == made, "pictures and times are the same");
    let base = read("base");
    assert_eq!(base.len(), 12);
    assert!(base != made);
}

#[test]
fn a_seek_in_a_playing_file_shows_the_same_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path());
    let straight = frames(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    let playing = Playing::new(&format!(
        "filesrc location={path} ! decodebin name=d d. ! queue ! video/x-raw ! appsink name=s sync=false max-buffers=4 \
         d. ! queue ! audio/x-raw ! fakesink sync=false"
    ));
    let sink = playing.sink("s");
    playing.0.set_state(gst::State::Playing).unwrap();
    assert!(next(&sink).is_some());
    let frame = gst::ClockTime::from_mseconds(40);
    for (to, flags) in [
        (2120, gst::SeekFlags::ACCURATE),
        (360, gst::SeekFlags::ACCURATE),
        (2960, gst::SeekFlags::ACCURATE),
        (1440, gst::SeekFlags::KEY_UNIT),
        (0, gst::SeekFlags::ACCURATE),
    ] {
        let to = gst::ClockTime::from_mseconds(to);
        playing
            .0
            .seek_simple(gst::SeekFlags::FLUSH | flags, to)
            .unwrap();
        let first = of(&next(&sink).unwrap());
        let i = (first.0.unwrap().nseconds() / frame.nseconds()) as usize;
        if flags == gst::SeekFlags::ACCURATE {
            assert_eq!(first.0, Some(to));
        } else {
            assert_eq!(i % 10, 0, "a keyframe: {first:?}", first = first.0);
        }
        assert!(first == straight[i], "frame {i} after a seek to {to}");
        for want in straight.iter().skip(i + 1).take(12) {
            assert!(of(&next(&sink).unwrap()) == *want, "{:?}", want.0);
        }
    }
}

#[test]
fn a_file_plays_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path());
    let straight = frames(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    let playing = Playing::new(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false max-buffers=4"
    ));
    let sink = playing.sink("s");
    playing.0.set_state(gst::State::Playing).unwrap();
    assert!(next(&sink).is_some());
    let stop = gst::ClockTime::from_mseconds(2000);
    playing
        .0
        .seek(
            -1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::Set,
            stop,
        )
        .unwrap();
    let shown: Vec<Shown> = std::iter::from_fn(|| next(&sink)).map(|s| of(&s)).collect();
    let mut wanted = straight[..50].to_vec();
    wanted.reverse();
    let times = |list: &[Shown]| list.iter().map(|s| s.0).collect::<Vec<_>>();
    assert_eq!(times(&shown), times(&wanted));
    assert!(shown == wanted);
}

#[test]
fn what_the_stream_does_not_say_goes_through_the_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.mkv").display().to_string();
    let caps = "video/x-raw,format=I420_10LE,width=64,height=48,framerate=30000/1001,\
        pixel-aspect-ratio=64/45,chroma-site=v-cosited,colorimetry=bt2100-pq,interlace-mode=progressive";
    let light = "content-light-level=(string)1000:400";
    let playing = Playing::new(&format!(
        "videotestsrc num-buffers=5 ! {caps} ! capssetter caps=video/x-raw,{light} ! neuralenc ! neuralmkvmux ! filesink location={path}"
    ));
    assert_eq!(playing.run(), None);
    let playing = Playing::new(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    let sink = playing.sink("s");
    playing.0.set_state(gst::State::Playing).unwrap();
    let sample = next(&sink).unwrap();
    let caps = sample.caps().unwrap();
    let s = caps.structure(0).unwrap();
    assert_eq!(
        s.get::<gst::Fraction>("pixel-aspect-ratio"),
        Ok(gst::Fraction::new(64, 45))
    );
    assert_eq!(
        s.get::<gst::Fraction>("framerate"),
        Ok(gst::Fraction::new(30000, 1001))
    );
    assert_eq!(s.get::<&str>("colorimetry"), Ok("bt2100-pq"));
    assert_eq!(s.get::<&str>("chroma-site"), Ok("v-cosited"));
    assert_eq!(s.get::<&str>("content-light-level"), Ok("1000:400"));
}

#[test]
fn a_size_that_changes_in_mid_stream_changes_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sizes.mkv").display().to_string();
    let part = |size: &str| {
        format!("videotestsrc num-buffers=8 ! video/x-raw,format=I420,framerate=25/1,{size} ! c.")
    };
    let playing = Playing::new(&format!(
        "concat name=c ! neuralenc ! neuralmkvmux ! filesink location={path} {} {}",
        part("width=64,height=48"),
        part("width=32,height=80"),
    ));
    assert_eq!(playing.run(), None);
    let playing = Playing::new(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    let sink = playing.sink("s");
    playing.0.set_state(gst::State::Playing).unwrap();
    let sizes: Vec<(i32, i32)> = std::iter::from_fn(|| next(&sink))
        .map(|sample| {
            let s = sample.caps().unwrap().structure(0).unwrap().to_owned();
            (s.get("width").unwrap(), s.get("height").unwrap())
        })
        .collect();
    assert_eq!(sizes, [vec![(64, 48); 8], vec![(32, 80); 8]].concat());
}

#[test]
fn a_file_cut_off_shows_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let straight = frames(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = frames(&format!(
        "filesrc location={path} ! matroskademux ! neuraldec ! appsink name=s sync=false"
    ));
    assert!(cut.len() > 20 && cut.len() < 75, "{}", cut.len());
    assert!(cut[..] == straight[..cut.len()]);
}

#[test]
fn video_without_codec_data_is_not_muxed() {
    init();
    let mux = gst::ElementFactory::make("neuralmkvmux").build().unwrap();
    let pad = mux.request_pad_simple("video_%u").unwrap();
    mux.set_state(gst::State::Paused).unwrap();
    pad.send_event(gst::event::StreamStart::new("a"));
    let caps = gst::Caps::builder("video/x-neural")
        .field("alignment", "au")
        .field("width", 64)
        .field("height", 48)
        .build();
    assert!(!pad.send_event(gst::event::Caps::new(&caps)));
    mux.set_state(gst::State::Null).unwrap();
    mux.release_request_pad(&pad);
    assert!(mux.sink_pads().is_empty());
}
