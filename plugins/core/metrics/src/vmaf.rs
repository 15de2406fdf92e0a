//! The one place that talks to libvmaf: a safe wrapper of what this crate uses.

use std::{
    ffi::{CStr, CString},
    ptr::{self, NonNull},
};

use gstneural_pixels::{Family, FrameRef, PixelFormat};
use vmaf_head_sys as ffi;

use crate::{Config, Metric, MetricError, VmafModel, VmafModels, psnr::PSNR_CAP_DB, rows::row};

/// libvmaf's version, such as `3.0.0`.
pub fn version() -> String {
    // SAFETY: the function takes nothing and gives a static string.
    let text = unsafe { ffi::vmaf_version() };
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a C string that lives as long as the program.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

fn check(code: i32, what: impl FnOnce() -> String) -> Result<(), MetricError> {
    match code {
        0 => Ok(()),
        code => Err(MetricError::Vmaf { what: what(), code }),
    }
}

/// Loads models and drops them again.
///
/// # Errors
/// If one of them cannot be loaded.
pub fn check_models(models: &VmafModels) -> Result<(), MetricError> {
    // Opening a context is what makes libvmaf keep quiet.
    let _quiet = Context::new(0)?;
    models.0.iter().try_for_each(|m| Model::load(m).map(drop))
}

/// A loaded model.
#[derive(Debug)]
struct Model(NonNull<ffi::VmafModel>);

// SAFETY: a model is plain memory that libvmaf touches only in calls that it is handed to; all of
// them are made through `&mut` of the session that owns it.
unsafe impl Send for Model {}

impl Model {
    fn load(model: &VmafModel) -> Result<Self, MetricError> {
        let (version, flags) = match model {
            VmafModel::V061 => ("vmaf_v0.6.1", 0),
            VmafModel::Neg => ("vmaf_v0.6.1neg", 0),
            VmafModel::FourK => ("vmaf_4k_v0.6.1", 0),
            VmafModel::FourKNeg => ("vmaf_4k_v0.6.1neg", 0),
            VmafModel::Phone => (
                "vmaf_v0.6.1",
                ffi::VmafModelFlags_VMAF_MODEL_FLAG_ENABLE_TRANSFORM,
            ),
            VmafModel::Other(name) => (name.as_str(), 0),
        };
        let wrong = |reason: &str| MetricError::Model {
            name: version.to_owned(),
            reason: reason.to_owned(),
        };
        let name = CString::new(model.column()).map_err(|_| wrong("a name with a NUL"))?;
        let text = CString::new(version).map_err(|_| wrong("a name with a NUL"))?;
        let mut config = ffi::VmafModelConfig {
            name: name.as_ptr(),
            flags: u64::from(flags),
        };
        let mut out = ptr::null_mut();
        let (code, reason) = if model.path().is_some() {
            std::fs::File::open(version).map_err(|e| wrong(&e.to_string()))?;
            // SAFETY: all pointers live through the call, which copies what it keeps.
            let code =
                unsafe { ffi::vmaf_model_load_from_path(&mut out, &mut config, text.as_ptr()) };
            (code, "not a VMAF model in JSON")
        } else {
            // SAFETY: all pointers live through the call, which copies what it keeps.
            let code = unsafe { ffi::vmaf_model_load(&mut out, &mut config, text.as_ptr()) };
            (
                code,
                "not built in; there are v0.6.1, neg, 4k, 4k-neg, phone, and files (*.json)",
            )
        };
        match NonNull::new(out) {
            Some(model) if code == 0 => Ok(Self(model)),
            _ => Err(wrong(reason)),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: it came from libvmaf, and this is the only owner. The session drops its context
        // first.
        unsafe { ffi::vmaf_model_destroy(self.0.as_ptr()) }
    }
}

/// A libvmaf context; closing it waits for its threads.
#[derive(Debug)]
struct Context(NonNull<ffi::VmafContext>);

// SAFETY: libvmaf has no state of threads in its context; all calls go through `&mut` of the
// session that owns it.
unsafe impl Send for Context {}

impl Context {
    fn new(n_threads: u32) -> Result<Self, MetricError> {
        let cfg = ffi::VmafConfiguration {
            log_level: ffi::VmafLogLevel_VMAF_LOG_LEVEL_NONE,
            n_threads,
            n_subsample: 1,
            cpumask: 0,
            gpumask: 0,
        };
        let mut context = ptr::null_mut();
        // SAFETY: the pointer to write to is valid; the configuration is copied.
        let code = unsafe { ffi::vmaf_init(&mut context, cfg) };
        check(code, || "vmaf_init".into())?;
        let context = NonNull::new(context).ok_or_else(|| MetricError::Vmaf {
            what: "vmaf_init".into(),
            code: 0,
        })?;
        Ok(Self(context))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it came from vmaf_init, and this is the only owner.
        unsafe { ffi::vmaf_close(self.0.as_ptr()) };
    }
}

/// A picture that this side owns, to be unreferenced unless libvmaf takes it.
struct Picture(ffi::VmafPicture);

impl Drop for Picture {
    fn drop(&mut self) {
        if !self.0.ref_.is_null() {
            // SAFETY: a picture that libvmaf gave, with the one reference that is ours.
            unsafe { ffi::vmaf_picture_unref(&mut self.0) };
        }
    }
}

/// One stream of pairs through libvmaf.
#[derive(Debug)]
pub(crate) struct VmafSession {
    // Dropped before the models.
    context: Context,
    /// Models with their columns.
    models: Vec<(String, Model)>,
    /// libvmaf's features with their columns.
    features: Vec<(&'static str, &'static CStr)>,
    pushed: u32,
    fetched: u32,
    flushed: bool,
    /// Planes that are handed over: luma alone where nothing looks at chroma.
    planes: usize,
    scratch: Vec<u8>,
}

const SAD: &CStr = c"VMAF_integer_feature_motion_sad_score";
const MOTION2: &CStr = c"VMAF_integer_feature_motion2_score";

/// The largest number of threads that is asked of libvmaf.
const MAX_THREADS: usize = 64;

fn threads(wanted: usize) -> u32 {
    let wanted = match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    wanted.min(MAX_THREADS) as u32
}

fn pixel_format(format: PixelFormat, planes: usize) -> Result<u32, MetricError> {
    let info = format.info();
    if planes == 1 {
        return Ok(ffi::VmafPixelFormat_VMAF_PIX_FMT_YUV400P);
    }
    let chroma = info.components.get(1).map(|c| (c.sub_w, c.sub_h));
    Ok(match (info.family, chroma) {
        (Family::Gray, _) => ffi::VmafPixelFormat_VMAF_PIX_FMT_YUV400P,
        (Family::Yuv, Some((1, 1))) => ffi::VmafPixelFormat_VMAF_PIX_FMT_YUV420P,
        (Family::Yuv, Some((1, 0))) => ffi::VmafPixelFormat_VMAF_PIX_FMT_YUV422P,
        (Family::Yuv, Some((0, 0))) => ffi::VmafPixelFormat_VMAF_PIX_FMT_YUV444P,
        _ => return Err(MetricError::Format(format)),
    })
}

/// Extractors to be registered for a metric, and the features it gives by column.
fn features(
    metric: Metric,
) -> (
    &'static [&'static CStr],
    &'static [(&'static str, &'static CStr)],
) {
    match metric {
        Metric::FloatSsim => (&[c"float_ssim"], &[("float-ssim", c"float_ssim")]),
        Metric::MsSsim => (&[c"float_ms_ssim"], &[("ms-ssim", c"float_ms_ssim")]),
        Metric::Cambi => (&[c"cambi"], &[("cambi", c"Cambi_feature_cambi_score")]),
        Metric::Ciede2000 => (&[c"ciede"], &[("ciede2000", c"ciede2000")]),
        Metric::PsnrHvs => (&[c"psnr_hvs"], &[("psnr-hvs", c"psnr_hvs")]),
        Metric::VmafFeatures => (
            &[c"adm", c"vif", c"motion"],
            &[
                ("adm2", c"VMAF_integer_feature_adm2_score"),
                ("vif-scale0", c"VMAF_integer_feature_vif_scale0_score"),
                ("vif-scale1", c"VMAF_integer_feature_vif_scale1_score"),
                ("vif-scale2", c"VMAF_integer_feature_vif_scale2_score"),
                ("vif-scale3", c"VMAF_integer_feature_vif_scale3_score"),
                ("motion2", MOTION2),
            ],
        ),
        _ => (&[], &[]),
    }
}

/// Width and height that a metric needs at least, and whether it needs chroma.
fn needs(metric: Metric) -> (usize, bool) {
    match metric {
        // Five scales of an 11x11 window.
        Metric::MsSsim => (176, false),
        Metric::FloatSsim => (11, false),
        Metric::Cambi => (216, false),
        Metric::Vmaf | Metric::VmafFeatures => (32, false),
        Metric::Ciede2000 | Metric::PsnrHvs => (16, true),
        _ => (1, false),
    }
}

impl VmafSession {
    /// A session for what needs libvmaf; None if nothing does.
    pub fn new(
        config: &Config,
        format: PixelFormat,
        (width, height): (usize, usize),
    ) -> Result<Option<Self>, MetricError> {
        let wanted: Vec<_> = config.metrics.iter().filter(|m| m.needs_vmaf()).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        for &metric in &wanted {
            let (least, chroma) = needs(metric);
            if width.min(height) < least {
                return Err(MetricError::TooSmall {
                    metric: metric.name(),
                    width,
                    height,
                    least,
                });
            }
            if chroma && format.info().family == Family::Gray {
                return Err(MetricError::Unsupported {
                    metric: metric.name(),
                    format,
                });
            }
        }
        // Models of others may be made of any feature.
        let other = |m: &VmafModel| matches!(m, VmafModel::Other(_));
        let any_feature =
            config.metrics.contains(Metric::Vmaf) && config.models.0.iter().any(other);
        let planes = match any_feature || wanted.iter().any(|m| needs(*m).1) {
            true => format.info().components.len().min(3),
            false => 1,
        };
        let n_threads = threads(config.threads);
        // A thread pool of one would only be another thread to wait for.
        let context = Context::new(if n_threads == 1 { 0 } else { n_threads })?;
        let mut session = Self {
            context,
            models: Vec::new(),
            features: Vec::new(),
            pushed: 0,
            fetched: 0,
            flushed: false,
            planes,
            scratch: Vec::new(),
        };
        session.preallocate(format, width, height, n_threads)?;
        for metric in wanted {
            if metric == Metric::Vmaf {
                for model in &config.models.0 {
                    session.add_model(model)?;
                }
            }
            let (extractors, columns) = features(metric);
            for name in extractors {
                // SAFETY: the context is alive, the name a C string; no options.
                let code = unsafe {
                    ffi::vmaf_use_feature(session.context(), name.as_ptr(), ptr::null_mut())
                };
                check(code, || format!("feature {}", name.to_string_lossy()))?;
            }
            session.features.extend(columns);
        }
        Ok(Some(session))
    }

    fn context(&self) -> *mut ffi::VmafContext {
        self.context.0.as_ptr()
    }

    /// A bounded pool of pictures: being out of them is what makes a push wait for the threads.
    fn preallocate(
        &self,
        format: PixelFormat,
        width: usize,
        height: usize,
        n_threads: u32,
    ) -> Result<(), MetricError> {
        let size = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        let cfg = ffi::VmafPictureConfiguration {
            pic_params: ffi::VmafPictureConfiguration__bindgen_ty_1 {
                w: size(width),
                h: size(height),
                bpc: u32::from(format.info().depth),
                pix_fmt: pixel_format(format, self.planes)?,
            },
            // A pair in the works for each thread, one that waits, one being filled, and the
            // previous reference: few, so that what was filled is still in the cache.
            pic_cnt: 2 * n_threads + 5,
        };
        // SAFETY: the context is alive; the configuration is copied.
        let code = unsafe { ffi::vmaf_preallocate_pictures(self.context(), cfg) };
        check(code, || format!("allocating pictures of {width}x{height}"))
    }

    fn add_model(&mut self, model: &VmafModel) -> Result<(), MetricError> {
        let loaded = Model::load(model)?;
        // SAFETY: both are alive; the session keeps the model longer than the context.
        let code = unsafe { ffi::vmaf_use_features_from_model(self.context(), loaded.0.as_ptr()) };
        check(code, || format!("features of the model {}", model.column()))?;
        self.models.push((model.column(), loaded));
        Ok(())
    }

    fn picture(&mut self, frame: &FrameRef<'_>) -> Result<Picture, MetricError> {
        let mut picture = Picture(ffi::VmafPicture {
            pix_fmt: 0,
            bpc: 0,
            w: [0; 3],
            h: [0; 3],
            stride: [0; 3],
            data: [ptr::null_mut(); 3],
            ref_: ptr::null_mut(),
            priv_: ptr::null_mut(),
        });
        // SAFETY: the context is alive and has a pool; the picture is valid to write to. It waits
        // until one is free: threads free them without needing this one.
        let code = unsafe { ffi::vmaf_fetch_preallocated_picture(self.context(), &mut picture.0) };
        check(code, || "taking a picture".into())?;
        for c in 0..self.planes {
            let comp = frame.component(c);
            let (data, stride) = (picture.0.data[c].cast::<u8>(), picture.0.stride[c]);
            let same = picture.0.w[c] as usize == comp.width()
                && picture.0.h[c] as usize == comp.height()
                && usize::try_from(stride).is_ok_and(|s| s >= comp.width() * comp.sample_bytes())
                && !data.is_null();
            if !same {
                return Err(MetricError::Vmaf {
                    what: "a picture of the frame's size".into(),
                    code: 0,
                });
            }
            for y in 0..comp.height() {
                let line = row(&comp, y, &mut self.scratch);
                // SAFETY: the plane has `h` rows of `stride` bytes, checked above to be no less
                // than the row's; it is not shared with anyone yet.
                unsafe {
                    let to = data.offset(y as isize * stride);
                    ptr::copy_nonoverlapping(line.as_ptr(), to, line.len());
                }
            }
        }
        Ok(picture)
    }

    /// Takes the next pair.
    pub fn push(
        &mut self,
        reference: &FrameRef<'_>,
        distorted: &FrameRef<'_>,
    ) -> Result<(), MetricError> {
        let mut a = self.picture(reference)?;
        let mut b = self.picture(distorted)?;
        // SAFETY: the context is alive, the pictures are filled. libvmaf takes both of them.
        let code =
            unsafe { ffi::vmaf_read_pictures(self.context(), &mut a.0, &mut b.0, self.pushed) };
        // On success libvmaf took them and cleared these. On failure they are still ours, and must
        // go back to the pool, for which closing the context waits.
        drop((a, b));
        self.pushed += 1;
        check(code, || format!("frame {}", self.pushed - 1))
    }

    /// Ends the stream: all scores are there afterwards.
    pub fn flush(&mut self) -> Result<(), MetricError> {
        if self.flushed {
            return Ok(());
        }
        self.flushed = true;
        if self.pushed == 0 {
            return Ok(());
        }
        // SAFETY: the context is alive; two nulls end the stream.
        let code =
            unsafe { ffi::vmaf_read_pictures(self.context(), ptr::null_mut(), ptr::null_mut(), 0) };
        check(code, || "the end of the stream".into())
    }

    /// Gives frame `index` its motion score as soon as the next frame's is there.
    ///
    /// libvmaf's extractor does this for all frames at the end of the stream, and without it no
    /// VMAF score exists before: min(sad(i), sad(i + 1)), 0 for the first frame, and for the last
    /// one, which is left to libvmaf, sad(i). What is there already is not changed at the end.
    fn import_motion(&self, index: u32) {
        let sad = |index| {
            let mut score = 0.0;
            // SAFETY: the context is alive; the name is a C string; the score is valid to write.
            let code = unsafe {
                ffi::vmaf_feature_score_at_index(self.context(), SAD.as_ptr(), &mut score, index)
            };
            (code == 0).then_some(score)
        };
        let (Some(this), Some(next)) = (sad(index), sad(index + 1)) else {
            return;
        };
        let motion = if index == 0 { 0.0 } else { this.min(next) };
        // SAFETY: the context is alive; the name is a C string.
        unsafe {
            ffi::vmaf_import_feature_score(self.context(), MOTION2.as_ptr(), motion, index);
        }
    }

    /// Columns and values of the next frame; None if they are not all there yet.
    pub fn next_scores(&mut self) -> Result<Option<Vec<(String, f64)>>, MetricError> {
        // Motion needs the next frame: nothing is complete before that.
        if self.fetched >= self.pushed || (!self.flushed && self.fetched + 1 >= self.pushed) {
            return Ok(None);
        }
        let index = self.fetched;
        if !self.flushed {
            self.import_motion(index);
        }
        let mut out = Vec::with_capacity(self.models.len() + self.features.len());
        let missing = |name: &str, code: i32| {
            self.flushed.then(|| MetricError::Vmaf {
                what: format!("{name} of frame {index}"),
                code,
            })
        };
        for (column, feature) in &self.features {
            let mut score = 0.0;
            // SAFETY: the context is alive; the name is a C string; the score is valid to write.
            let code = unsafe {
                ffi::vmaf_feature_score_at_index(
                    self.context(),
                    feature.as_ptr(),
                    &mut score,
                    index,
                )
            };
            if code != 0 {
                return missing(column, code).map_or(Ok(None), Err);
            }
            // CIEDE2000 and PSNR-HVS are infinite for identical frames.
            out.push(((*column).to_owned(), score.min(PSNR_CAP_DB)));
        }
        for (column, model) in &self.models {
            let mut score = 0.0;
            // SAFETY: context and model are alive; the score is valid to write.
            let code = unsafe {
                ffi::vmaf_score_at_index(self.context(), model.0.as_ptr(), &mut score, index)
            };
            if code != 0 {
                return missing(column, code).map_or(Ok(None), Err);
            }
            out.push((column.clone(), score));
        }
        self.fetched += 1;
        Ok(Some(out))
    }
}

#[cfg(test)]
#[path = "vmaf_tests.rs"]
mod tests;
