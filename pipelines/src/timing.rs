//! Times on the way: each stream is brought to one time line that begins with the output, is cut
//! where the output begins and ends, and is counted.

use gst::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all streams of a job.
#[derive(Debug)]
pub struct Control {
    /// Time of the source at which its running time begins, after a seek.
    pub sought_ns: AtomicU64,
    /// Running time of the source at which the output begins.
    pub begin_ns: AtomicU64,
    /// Length of the output, `u64::MAX` = to the end.
    pub length_ns: u64,
    /// Set to end the job early.
    pub stop: AtomicBool,
    /// Output time at which the video ended early, `u64::MAX` = it did not.
    pub cut_ns: Arc<AtomicU64>,
    /// End of the last frame that went in.
    pub video_end_ns: AtomicU64,
}

impl Control {
    /// For an output of at most `length_ns`.
    pub fn new(length_ns: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            sought_ns: AtomicU64::new(0),
            begin_ns: AtomicU64::new(0),
            length_ns: length_ns.unwrap_or(u64::MAX),
            stop: AtomicBool::new(false),
            cut_ns: Arc::new(AtomicU64::new(u64::MAX)),
            video_end_ns: AtomicU64::new(0),
        })
    }

    /// For another source of the same output: it begins where it is sought to, and ends with this one.
    pub fn beside(&self) -> Arc<Self> {
        Arc::new(Self {
            sought_ns: AtomicU64::new(0),
            begin_ns: AtomicU64::new(0),
            length_ns: self.length_ns,
            stop: AtomicBool::new(false),
            cut_ns: Arc::clone(&self.cut_ns),
            video_end_ns: AtomicU64::new(0),
        })
    }

    fn end_ns(&self) -> u64 {
        self.length_ns.min(self.cut_ns.load(Ordering::SeqCst))
    }
}

/// How far before the beginning of the part asked for the demuxer is sent.
const SEEK_MARGIN_NS: u64 = 500_000_000;

/// Sends the source behind `pad` to the beginning of the part asked for, and notes where it is.
pub fn seek(pad: &gst::Pad, start_ns: Option<u64>, control: &Control) {
    let Some(start) = start_ns else { return };
    // A little before: a decoder would trim the frame that is on show at the beginning,
    // and the sound may need a packet of lead. What is too early is left out later.
    let seek = start.saturating_sub(SEEK_MARGIN_NS);
    let sought = seek > 0
        && pad.send_event(gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            gst::ClockTime::from_nseconds(seek),
            gst::SeekType::None,
            gst::ClockTime::NONE,
        ));
    // Without a seek, everything from the beginning is decoded.
    let begin = if sought { start - seek } else { start };
    control.begin_ns.store(begin, Ordering::SeqCst);
    control.sought_ns.store(start - begin, Ordering::SeqCst);
}

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Whole frames; it decides where everything ends.
    Video,
    /// Whole packets. With `lead`, those before the beginning that the decoder needs are kept in
    /// front (an edit list hides them).
    Packets {
        /// Keep the lead.
        lead: bool,
    },
    /// Raw samples.
    Samples,
    /// Subtitles: what is still shown at the beginning begins there.
    Text,
}

/// Counters of one stream.
#[derive(Debug, Default)]
pub struct Track {
    /// Buffers that passed.
    pub count: AtomicU64,
    /// End of the last one, in the source's running time.
    pub reached_ns: AtomicU64,
    /// How far the packets were moved back to make room for the lead.
    pub lead_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    started: bool,
    ended: bool,
}

/// The longest lead that is taken for codec priming rather than for another fault of the source.
const MAX_LEAD_NS: i64 = 200_000_000;

enum Verdict {
    Keep,
    Drop,
    End,
}

/// Puts the cut on `pad` (a sink pad with static links).
pub fn install(pad: &gst::Pad, control: &Arc<Control>, track: &Arc<Track>, cut: Cut) {
    let (control, track) = (Arc::clone(control), Arc::clone(track));
    let state = Mutex::new(State::default());
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(mask, move |pad, info| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match info.data.take() {
            Some(gst::PadProbeData::Event(event)) => {
                let (event, verdict) = on_event(event, &mut state, &control, cut);
                info.data = Some(gst::PadProbeData::Event(event));
                if verdict {
                    gst::PadProbeReturn::Ok
                } else {
                    gst::PadProbeReturn::Handled
                }
            }
            Some(gst::PadProbeData::Buffer(mut buffer)) => {
                let verdict = on_buffer(&mut buffer, &mut state, &control, &track, cut);
                info.data = Some(gst::PadProbeData::Buffer(buffer));
                match verdict {
                    Verdict::Keep => gst::PadProbeReturn::Ok,
                    Verdict::Drop => gst::PadProbeReturn::Handled,
                    Verdict::End => {
                        let first = !std::mem::replace(&mut state.ended, true);
                        drop(state);
                        if first {
                            pad.send_event(gst::event::Eos::new());
                        }
                        // The pad is at its end now: the next buffer is answered with EOS.
                        // (Handled, not Drop: on GStreamer 1.22 Drop from Rust warns on stderr.)
                        gst::PadProbeReturn::Handled
                    }
                }
            }
            other => {
                info.data = other;
                gst::PadProbeReturn::Ok
            }
        }
    });
}

fn on_event(
    event: gst::Event,
    state: &mut State,
    control: &Control,
    cut: Cut,
) -> (gst::Event, bool) {
    match event.view() {
        gst::EventView::Segment(s) => {
            if let Some(segment) = s.segment().downcast_ref::<gst::ClockTime>() {
                state.segment = Some(segment.clone());
            }
            let plain = gst::FormattedSegment::<gst::ClockTime>::new();
            (
                gst::event::Segment::builder(&plain)
                    .seqnum(event.seqnum())
                    .build(),
                true,
            )
        }
        gst::EventView::Gap(gap) => {
            let (start, duration) = gap.get();
            let Some(running) = running_ns(state, start) else {
                return (event, false);
            };
            let begin = control.begin_ns.load(Ordering::SeqCst) as i64;
            let at = running - begin;
            if at < 0 || at as u64 >= control.end_ns() || cut == Cut::Video {
                return (event, cut == Cut::Video);
            }
            let moved = gst::event::Gap::builder(gst::ClockTime::from_nseconds(at as u64))
                .duration(duration)
                .seqnum(event.seqnum())
                .build();
            (moved, true)
        }
        _ => (event, true),
    }
}

fn running_ns(state: &State, pts: gst::ClockTime) -> Option<i64> {
    let segment = state.segment.as_ref()?;
    match segment.to_running_time_full(pts)? {
        gst::Signed::Positive(t) => i64::try_from(t.nseconds()).ok(),
        gst::Signed::Negative(t) => i64::try_from(t.nseconds()).ok().map(|t| -t),
    }
}

fn on_buffer(
    buffer: &mut gst::Buffer,
    state: &mut State,
    control: &Control,
    track: &Track,
    cut: Cut,
) -> Verdict {
    if state.ended {
        return Verdict::End;
    }
    let Some(running) = buffer
        .pts()
        .or(buffer.dts())
        .and_then(|pts| running_ns(state, pts))
    else {
        track.count.fetch_add(1, Ordering::SeqCst);
        return Verdict::Keep;
    };
    let duration = buffer.duration().map_or(0, |d| d.nseconds() as i64);
    track
        .reached_ns
        .fetch_max((running + duration).max(0) as u64, Ordering::SeqCst);
    let begin = control.begin_ns.load(Ordering::SeqCst) as i64;
    let mut at = running - begin;
    if control.stop.load(Ordering::SeqCst) && cut == Cut::Video {
        let end = control.video_end_ns.load(Ordering::SeqCst);
        control.cut_ns.fetch_min(end, Ordering::SeqCst);
        return Verdict::End;
    }
    let lead = track.lead_ns.load(Ordering::SeqCst) as i64;
    if at >= 0 && at as u64 >= control.end_ns() {
        return Verdict::End;
    }
    let mut new_duration = None;
    if at < 0 {
        match cut {
            Cut::Video | Cut::Packets { lead: false } => {
                if at < -1_000_000 {
                    return Verdict::Drop;
                }
                at = 0;
            }
            Cut::Packets { lead: true } => {
                if !state.started {
                    if at < -MAX_LEAD_NS || (begin > 0 && at + duration <= 0) {
                        return Verdict::Drop;
                    }
                    track.lead_ns.store((-at) as u64, Ordering::SeqCst);
                    at = 0;
                } else {
                    at = (at + lead).max(0);
                }
            }
            Cut::Samples => {
                if at + duration <= 0 {
                    return Verdict::Drop;
                }
            }
            Cut::Text => {
                if at + duration <= 0 {
                    return Verdict::Drop;
                }
                new_duration = Some(at + duration);
                at = 0;
            }
        }
    } else if matches!(cut, Cut::Packets { lead: true }) {
        at += lead;
    }
    state.started = true;
    track.count.fetch_add(1, Ordering::SeqCst);
    if cut == Cut::Video {
        control
            .video_end_ns
            .fetch_max((at + duration).max(0) as u64, Ordering::SeqCst);
    }
    let dts = buffer
        .dts()
        .and_then(|d| running_ns(state, d))
        .map(|d| d - begin + at - (running - begin));
    let time = |t: i64| gst::ClockTime::from_nseconds(t.max(0) as u64);
    let b = buffer.make_mut();
    if b.pts().is_some() {
        b.set_pts(time(at));
    }
    if b.dts().is_some() {
        b.set_dts(dts.map(time));
    }
    if let Some(d) = new_duration {
        b.set_duration(time(d));
    }
    Verdict::Keep
}

/// Ends a stream behind its queue when the video ends early, so that no sound outlasts the picture.
pub fn install_tail(pad: &gst::Pad, control: &Arc<Control>, track: &Arc<Track>) {
    let (control, track) = (Arc::clone(control), Arc::clone(track));
    let ended = AtomicBool::new(false);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let cut = control.cut_ns.load(Ordering::SeqCst);
        let lead = track.lead_ns.load(Ordering::SeqCst);
        let late = info
            .buffer()
            .and_then(|b| b.pts())
            .is_some_and(|pts| cut != u64::MAX && pts.nseconds() >= cut.saturating_add(lead));
        if !late {
            return gst::PadProbeReturn::Ok;
        }
        if !ended.swap(true, Ordering::SeqCst) {
            pad.push_event(gst::event::Eos::new());
        }
        gst::PadProbeReturn::Handled
    });
}
