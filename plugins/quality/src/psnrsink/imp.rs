//! The element: pads, events, state changes.
//!
//! Locks: `settings`, `thread` and the shared state; none is taken while another is held, and none
//! is held while something is posted or pushed.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use gst::{glib, prelude::*, subclass::prelude::*};
use gstneural_metrics::measurable;
use gstneural_pixels::PixelFormat;

use super::{
    frames::StreamInfo,
    log::Log,
    queues::Item,
    settings::{self, Settings},
    upstream,
    worker::{Shared, Thread, Worker},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "psnrsink",
        gst::DebugColorFlags::empty(),
        Some("Video quality against a reference"),
    )
});

const REFERENCE: &str = "reference";
const DISTORTED: &str = "distorted";
const DISTORTED_N: &str = "distorted_%u";

/// What all pads take.
static CAPS: LazyLock<gst::Caps> = LazyLock::new(|| {
    let formats = PixelFormat::ALL.iter().filter(|f| measurable(**f));
    gst_video::VideoCapsBuilder::new()
        .format_list(formats.filter_map(|f| f.info().name.parse().ok()))
        .build()
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct PsnrSink {
    settings: Mutex<Settings>,
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

#[glib::object_subclass]
impl ObjectSubclass for PsnrSink {
    const NAME: &'static str = "GstPsnrSink";
    type Type = super::PsnrSink;
    type ParentType = gst::Element;
}

impl ObjectImpl for PsnrSink {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "summary" {
            return self.shared.lock().summary.to_value();
        }
        let value = lock(&self.settings).get(pspec);
        value.unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
    }

    fn constructed(&self) {
        self.parent_constructed();
        // Bins count on a sink to post EOS.
        self.obj().set_element_flags(gst::ElementFlags::SINK);
    }
}

impl GstObjectImpl for PsnrSink {}

impl ElementImpl for PsnrSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video quality meter",
                "Sink/Video/Analyzer",
                "Measures video against a reference: PSNR, SSIM, VMAF and more",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = |name| {
                let (sink, request) = (gst::PadDirection::Sink, gst::PadPresence::Request);
                gst::PadTemplate::new(name, sink, request, &CAPS).ok()
            };
            [REFERENCE, DISTORTED, DISTORTED_N]
                .into_iter()
                .filter_map(template)
                .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let obj = self.obj();
        let name = match (template.name_template(), name) {
            (DISTORTED_N, Some(name)) => name.to_owned(),
            (DISTORTED_N, None) => (0..)
                .map(|n| format!("distorted_{n}"))
                .find(|name| obj.static_pad(name).is_none())?,
            (fixed, _) => fixed.to_owned(),
        };
        if obj.static_pad(&name).is_some() {
            gst::warning!(CAT, imp = self, "there is a pad {name} already");
            return None;
        }
        let pad = gst::Pad::builder_from_template(template)
            .name(name.as_str())
            .chain_function(|pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.chain(pad, buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.query(pad, query))
            })
            .build();
        self.shared.lock().queues.add(&name, name == REFERENCE);
        if let Err(e) = obj.add_pad(&pad) {
            gst::warning!(CAT, imp = self, "{e}");
            self.shared.lock().queues.remove(&name);
            return None;
        }
        let running = self.shared.lock().running;
        if running && let Err(e) = pad.set_active(true) {
            gst::warning!(CAT, imp = self, "{e}");
        }
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.shared.lock().queues.remove(&pad.name());
        self.shared.changed.notify_all();
        let _ = pad.set_active(false);
        let _ = self.obj().remove_pad(pad);
    }

    /// Seeks and other upstream events go to every input: they have to stay in step.
    fn send_event(&self, event: gst::Event) -> bool {
        if !event.is_upstream() {
            return false;
        }
        let pads = self.obj().sink_pads();
        let sent: Vec<bool> = pads.iter().map(|p| p.push_event(event.clone())).collect();
        !sent.is_empty() && sent.into_iter().all(|ok| ok)
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PausedToPlaying => self.set_playing(true),
            gst::StateChange::PlayingToPaused => self.set_playing(false),
            gst::StateChange::PausedToReady => self.wake_for_stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        let stopped = transition == gst::StateChange::PausedToReady;
        let not_started = transition == gst::StateChange::ReadyToPaused && result.is_err();
        if stopped || not_started {
            self.stop();
        }
        result
    }
}

impl PsnrSink {
    fn start(&self) -> Result<(), gst::StateChangeError> {
        let settings = lock(&self.settings).clone();
        let fail = |text: String| {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{text}"));
            gst::StateChangeError
        };
        let plan = settings.plan().map_err(|e| fail(e.to_string()))?;
        let log = match &plan.log {
            None => None,
            Some((path, format)) => Some(Log::create(path, *format).map_err(|e| {
                let text = format!("cannot write {}: {e}", path.display());
                gst::element_imp_error!(self, gst::ResourceError::OpenWrite, ("{text}"));
                gst::StateChangeError
            })?),
        };
        {
            let mut state = self.shared.lock();
            state.queues.reset();
            state.queues.max = settings.max_queue as usize;
            state.queues.by_time = plan.by_time;
            state.queues.tolerance_ns = plan.tolerance_ns;
            (state.running, state.failed, state.finished) = (true, false, false);
            (state.seqnum, state.summary) = (None, None);
        }
        let worker = Worker {
            element: self.obj().clone(),
            shared: self.shared.clone(),
            plan,
            log,
            channels: Vec::new(),
        };
        let thread = Thread::start(worker).map_err(|e| fail(format!("no thread: {e}")))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    fn set_playing(&self, playing: bool) {
        let mut state = self.shared.lock();
        state.playing = playing;
        let again = playing && state.finished;
        let seqnum = state.seqnum;
        drop(state);
        self.shared.changed.notify_all();
        if again {
            // A bin forgets EOS on its way to PLAYING.
            let obj = self.obj();
            let eos = gst::message::Eos::builder()
                .src(&*obj)
                .seqnum_if_some(seqnum);
            let _ = obj.post_message(eos.build());
        }
    }

    /// Ends everything that waits, so that pads can be deactivated.
    fn wake_for_stop(&self) {
        let mut state = self.shared.lock();
        (state.running, state.playing) = (false, false);
        drop(state);
        self.shared.changed.notify_all();
    }

    fn stop(&self) {
        self.wake_for_stop();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.join();
        }
        self.shared.lock().queues.reset();
    }

    fn chain(
        &self,
        pad: &gst::Pad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let name = pad.name();
        let me = std::thread::current().id();
        let mut walked = false;
        let mut state = self.shared.lock();
        loop {
            if !state.running {
                return Err(gst::FlowError::Flushing);
            }
            if state.failed {
                return Err(gst::FlowError::Error);
            }
            // While nothing is measured, another branch may need many frames until it has prerolled.
            let max = match state.playing {
                true => state.queues.limit(&name),
                false => state.queues.max,
            };
            let stream = state.queues.get(&name).ok_or(gst::FlowError::NotLinked)?;
            stream.thread = Some(me);
            if stream.flushing {
                return Err(gst::FlowError::Flushing);
            }
            if stream.eos {
                return Err(gst::FlowError::Eos);
            }
            if stream.items.len() < max {
                let Some(info) = stream.info.clone() else {
                    drop(state);
                    gst::element_imp_error!(
                        self,
                        gst::CoreError::Negotiation,
                        ("{name}: a frame came before its caps")
                    );
                    return Err(gst::FlowError::NotNegotiated);
                };
                let mut running_time = None;
                if let Some(pts) = buffer.pts() {
                    running_time = stream.segment.to_running_time(pts);
                    if running_time.is_none() {
                        // Outside of the segment: not to be shown, not to be measured.
                        return Ok(gst::FlowSuccess::Ok);
                    }
                }
                let number = stream.received;
                stream.received += 1;
                stream.items.push_back(Item {
                    buffer,
                    info,
                    number,
                    running_time: running_time.map(gst::ClockTime::nseconds),
                });
                drop(state);
                self.shared.changed.notify_all();
                return Ok(gst::FlowSuccess::Ok);
            }
            // Full. If what it waits for can only come from this very thread, it never comes.
            let stuck = state.queues.blockers(&name);
            let (unknown, known): (Vec<_>, Vec<_>) =
                stuck.into_iter().partition(|s| s.thread.is_none());
            let mut starved = known
                .iter()
                .find(|s| s.thread == Some(me))
                .map(|s| s.name.clone());
            if starved.is_none() && !unknown.is_empty() && !walked {
                // Nothing has ever come there, not even an event, which encoders hold back until
                // their first frame: the way upstream tells whose turn it is.
                walked = true;
                let unknown: Vec<_> = unknown.iter().map(|s| s.name.clone()).collect();
                drop(state);
                let same = |other: &String| {
                    let other = self.obj().static_pad(other);
                    other.is_some_and(|other| upstream::same_feeders(pad, &other))
                };
                starved = unknown.into_iter().find(same);
                state = self.shared.lock();
                if starved.is_none() {
                    continue;
                }
            }
            if let Some(starved) = starved {
                drop(state);
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Failed,
                    ("{name} has {max} frames waiting for {starved}, which the same thread \
                         feeds: put a queue after each branch of the tee (or raise max-queue)")
                );
                self.shared.lock().failed = true;
                self.shared.changed.notify_all();
                return Err(gst::FlowError::Error);
            }
            state = self.shared.wait(state);
        }
    }

    fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;
        let name = pad.name();
        match event.view() {
            EventView::FlushStart(_) => {
                if let Some(s) = self.shared.lock().queues.get(&name) {
                    s.flushing = true;
                }
                self.shared.changed.notify_all();
                return true;
            }
            EventView::FlushStop(_) => {
                let mut state = self.shared.lock();
                state.queues.flush(&name);
                if let Some(s) = state.queues.get(&name) {
                    s.flushing = false;
                    s.segment = gst::FormattedSegment::new();
                }
                return true;
            }
            _ => {}
        }
        if event.is_serialized()
            && let Some(s) = self.shared.lock().queues.get(&name)
        {
            s.thread = Some(std::thread::current().id());
        }
        match event.view() {
            EventView::Caps(caps) => {
                let Some(info) = StreamInfo::new(caps.caps()) else {
                    gst::error!(CAT, obj = pad, "cannot use {:?}", caps.caps());
                    return false;
                };
                if let Some(s) = self.shared.lock().queues.get(&name) {
                    s.info = Some(Arc::new(info));
                }
                true
            }
            EventView::Segment(segment) => {
                let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() else {
                    if !self.shared.lock().queues.by_time {
                        // Frames as they lie in a file have no times, and need none.
                        return true;
                    }
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("{name}: the segment is not in time (pairing=count does without)")
                    );
                    return false;
                };
                if let Some(s) = self.shared.lock().queues.get(&name) {
                    s.segment = segment.clone();
                }
                true
            }
            EventView::Eos(eos) => {
                let mut state = self.shared.lock();
                state.seqnum = Some(eos.seqnum());
                if let Some(s) = state.queues.get(&name) {
                    s.eos = true;
                }
                drop(state);
                self.shared.changed.notify_all();
                true
            }
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Allocation(q) => {
                q.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}
