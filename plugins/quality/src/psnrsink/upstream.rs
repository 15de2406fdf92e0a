//! Who feeds a pad.

use gst::prelude::*;

/// The pads upstream of `pad` whose threads push what arrives there: those of sources, queues and
/// demuxers, beyond which the threads are others.
pub(super) fn feeders(pad: &gst::Pad) -> Vec<gst::Pad> {
    let (mut open, mut seen, mut found) = (vec![pad.clone()], Vec::new(), Vec::new());
    while let Some(pad) = open.pop() {
        if seen.contains(&pad) {
            continue;
        }
        seen.push(pad.clone());
        if pad.task_state() != gst::TaskState::Stopped {
            // A demuxer that pulls.
            found.push(pad);
            continue;
        }
        let Some(peer) = pad.peer() else {
            continue;
        };
        if peer.task_state() != gst::TaskState::Stopped {
            found.push(peer);
            continue;
        }
        // The sink pads of the peer's element, or the inside of a bin.
        let mut links = peer.iterate_internal_links();
        while let Ok(Some(link)) = links.next() {
            open.push(link);
        }
    }
    found
}

/// Whether everything that feeds `starved` feeds `full`, too: then nothing arrives at the one
/// while the other blocks.
pub(super) fn same_feeders(full: &gst::Pad, starved: &gst::Pad) -> bool {
    let (mine, others) = (feeders(full), feeders(starved));
    !others.is_empty() && others.iter().all(|pad| mine.contains(pad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_part_threads_and_tees_do_not() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(
            "videotestsrc num-buffers=100000 ! tee name=t \
             t. ! identity ! fakesink name=a sync=false async=false \
             t. ! bin.( identity ! identity ) ! fakesink name=b sync=false async=false \
             t. ! queue ! fakesink name=c sync=false async=false",
        );
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sink = |name: &str| pipeline.by_name(name).unwrap().static_pad("sink").unwrap();
        let (a, b, c) = (sink("a"), sink("b"), sink("c"));
        assert!(same_feeders(&a, &b) && same_feeders(&b, &a));
        assert!(!same_feeders(&a, &c) && !same_feeders(&c, &a));
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
