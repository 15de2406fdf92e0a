//! A model ready to be opened: graph rewritten, metadata complete.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use ort::{environment::Environment, session::Session, value::Tensor};

use crate::{
    device::{Placement, Processor},
    error::{Error, Result},
    graph::{self, Dim, Port},
    info::{self, Blend, Channels, Declared, MAX_SCALE},
    narrow::narrow,
    onnx::{Message, ModelProto},
    reach,
    rewrite::{self, Shuffle},
    runtime, session,
    tensor::{ElementType, Layout},
};

/// Overlap used for networks that look at the whole image, in input pixels.
const GLOBAL_OVERLAP: usize = 16;
/// Largest side of a fixed input.
const MAX_FIXED_SIDE: usize = 8192;
/// Most images of a fixed batch.
const MAX_FIXED_BATCH: usize = 64;
/// Side of the trial input, a multiple of every window size in use but 7.
const TRIAL: usize = 64;

/// Complete metadata of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The name to show: declared, else the file's.
    pub name: String,
    /// Output size / input size.
    pub scale: usize,
    /// Luma or RGB.
    pub channels: Channels,
    /// Order of the axes.
    pub layout: Layout,
    /// The value of white, 1 or 255.
    pub white: f32,
    /// True for blue, green, red.
    pub bgr: bool,
    /// Input sizes are multiples of this.
    pub multiple: usize,
    /// Tiles begin at multiples of this, so that strides inside fall on the same pixels.
    pub alignment: usize,
    /// Frames that the network sees at once; the middle one is upscaled.
    pub window: usize,
    /// Input pixels around a tile that its output depends on.
    pub overlap: usize,
    /// How tiles meet.
    pub blend: Blend,
    /// Width and height, for a network that takes one size only.
    pub fixed_size: Option<(usize, usize)>,
    /// Number of images, for a network that takes one number only.
    pub fixed_batch: Option<usize>,
    /// Input element type.
    pub input_element: ElementType,
    /// Output element type.
    pub output_element: ElementType,
    /// Weights.
    pub parameters: usize,
    /// Bytes of activations for each input pixel, estimated.
    pub bytes_per_pixel: usize,
    /// What was declared, texts and unknown keys included.
    pub declared: Declared,
}

impl ModelInfo {
    /// A declared text (`description`, `license`, ...).
    pub fn text(&self, key: &str) -> Option<&str> {
        self.declared.text.get(key).map(String::as_str)
    }
}

/// A model: its rewritten graph and its metadata.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
    /// The graph without what was rewritten for the CPU alone, if anything was.
    portable: Option<Vec<u8>>,
    /// Its own precision is half.
    half: bool,
    environment: &'static Environment,
    input: Port,
    output: Port,
    shuffle: Option<Shuffle>,
    info: ModelInfo,
}

impl Model {
    /// Loads, rewrites and tries a model.
    ///
    /// `roots` are the folders to look for ONNX Runtime in (see [`runtime::roots`]).
    ///
    /// # Errors
    /// [`Error::Runtime`], [`Error::Read`], [`Error::Format`]; [`Error::Metadata`] names the key
    /// that is missing or wrong.
    pub fn load(path: &Path, roots: &[PathBuf]) -> Result<Arc<Self>> {
        let mut proto = graph::read(path)?;
        let declared = info::declared(path, &proto)?;
        let environment = runtime::environment(roots)?;
        let format = |reason: String| Error::Format {
            path: path.to_path_buf(),
            reason,
        };
        let parameters = proto
            .graph
            .initializer
            .iter()
            .map(|t| {
                t.dims
                    .iter()
                    .map(|d| usize::try_from(*d).unwrap_or(0))
                    .fold(1usize, usize::saturating_mul)
            })
            .fold(0usize, usize::saturating_add);
        let graph = proto.graph.mut_or_insert_default();
        let external = graph::has_external_data(graph);
        let half = !external && rewrite::widen_half(graph);
        let [input] = <[Port; 1]>::try_from(graph::inputs(graph)).map_err(|ports| {
            format(format!(
                "it has {} inputs; an upscaler has one (the image)",
                ports.len()
            ))
        })?;
        let shuffle = if !external && layout_of(&input, &declared) != Some(Layout::Nhwc) {
            rewrite::strip_depth_to_space(graph)
        } else {
            None
        };
        let output = match graph::outputs(graph).as_slice() {
            [output] => output.clone(),
            ports => {
                return Err(format(format!(
                    "it has {} outputs; an upscaler has one (the image)",
                    ports.len()
                )));
            }
        };
        let declared_shape = Shape::new(path, &input, &declared)?;
        let element = |port: &Port| {
            port.element.ok_or_else(|| {
                format(format!(
                    "tensor \"{}\" is neither float, float16 nor uint8",
                    port.name
                ))
            })
        };
        let mut model = Self {
            path: path.to_path_buf(),
            bytes: None,
            portable: None,
            half,
            environment,
            shuffle,
            info: ModelInfo {
                name: declared.text.get("name").cloned().unwrap_or_else(|| {
                    path.file_stem()
                        .map(|s| s.to_string_lossy().into_owned())
                        .unwrap_or_default()
                }),
                scale: declared.scale.unwrap_or(0),
                channels: declared_shape.channels,
                layout: declared_shape.layout,
                white: declared.white.unwrap_or(0.0),
                bgr: declared.bgr.unwrap_or(false),
                multiple: declared.multiple.unwrap_or(0),
                alignment: 1,
                window: declared_shape.window,
                overlap: 0,
                blend: Blend::Crop,
                fixed_size: declared_shape.fixed_size,
                fixed_batch: declared_shape.fixed_batch,
                input_element: element(&input)?,
                output_element: element(&output)?,
                parameters,
                bytes_per_pixel: 0,
                declared,
            },
            input,
            output,
        };
        if !external {
            let written = |proto: &ModelProto| {
                proto
                    .write_to_bytes()
                    .map_err(|e| format(format!("it could not be rewritten: {e}")))
            };
            let portable = written(&proto)?;
            if rewrite::rewrite_prelu(proto.graph.mut_or_insert_default()) > 0 {
                model.bytes = Some(written(&proto)?);
                model.portable = Some(portable);
            } else {
                model.bytes = Some(portable);
            }
        }
        model.try_out()?;
        let out_jump = model.shuffle().block as f64 / model.info.scale as f64;
        let reach = reach::reach(&proto.graph, out_jump);
        let info = &mut model.info;
        info.alignment = lcm(info.multiple, reach.stride);
        info.bytes_per_pixel = reach.bytes_per_pixel;
        info.blend = info.declared.blend.unwrap_or(if reach.local {
            Blend::Crop
        } else {
            Blend::Feather
        });
        info.overlap = info.declared.overlap.unwrap_or(if reach.local {
            reach.radius
        } else {
            GLOBAL_OVERLAP.max(2 * info.alignment)
        });
        Ok(Arc::new(model))
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its metadata.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// True if the model's own precision is half.
    pub(crate) fn is_half(&self) -> bool {
        self.half
    }

    /// The graph for a placement; `keep_ports` as in [`narrow`]. None is the file itself, whose weights lie beside it.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be had in half precision.
    pub(crate) fn graph_for(
        &self,
        placement: &Placement,
        keep_ports: bool,
    ) -> Result<Option<Cow<'_, [u8]>>> {
        let bytes = match placement.processor {
            Processor::Cpu => self.bytes.as_deref(),
            Processor::Cuda | Processor::TensorRt => {
                self.portable.as_deref().or(self.bytes.as_deref())
            }
        };
        // TensorRT chooses where half precision is taken by itself.
        if !placement.half || placement.processor == Processor::TensorRt {
            return Ok(bytes.map(Cow::Borrowed));
        }
        let format = |reason: String| Error::Format {
            path: self.path.clone(),
            reason,
        };
        let bytes = bytes.ok_or_else(|| {
            format("weights in files of their own cannot be narrowed; use precision=fp32".into())
        })?;
        let mut proto = ModelProto::parse_from_bytes(bytes).map_err(|e| format(e.to_string()))?;
        narrow(proto.graph.mut_or_insert_default(), keep_ports).map_err(&format)?;
        let bytes = proto.write_to_bytes().map_err(|e| format(e.to_string()))?;
        Ok(Some(Cow::Owned(bytes)))
    }

    pub(crate) fn environment(&self) -> &'static Environment {
        self.environment
    }

    pub(crate) fn input_name(&self) -> &str {
        &self.input.name
    }

    pub(crate) fn output_name(&self) -> &str {
        &self.output.name
    }

    /// The shuffle to be done in the copy-out.
    pub(crate) fn shuffle(&self) -> Shuffle {
        self.shuffle.unwrap_or(Shuffle {
            block: 1,
            crd: true,
        })
    }

    /// Channels of the input tensor: those of an image times the window.
    pub(crate) fn input_channels(&self) -> usize {
        self.info.channels.count() * self.info.window
    }

    /// N, C, H, W of the output for an input of `w` x `h`.
    pub(crate) fn output_shape(&self, batch: usize, w: usize, h: usize) -> [usize; 4] {
        let block = self.shuffle().block;
        let k = self.info.scale;
        [
            batch,
            self.info.channels.count() * block * block,
            h * k / block,
            w * k / block,
        ]
    }

    /// Runs the network on small constant images: finds the scale, the multiple and the range.
    fn try_out(&mut self) -> Result<()> {
        let mut session = session::open(self, &Placement::default(), 1)?;
        let missing = |path: &Path, key: &str, why: &str| Error::Metadata {
            path: info::sidecar(path),
            reason: format!("{why}: give the key \"{key}\" in [nnupscale]"),
        };
        let start = self
            .info
            .declared
            .multiple
            .map_or(TRIAL, |m| TRIAL.next_multiple_of(m));
        let (w, h) = self.info.fixed_size.unwrap_or((start, start));
        let level = |white: f32| white / 2.0;
        let first = trial(
            &mut session,
            self,
            w,
            h,
            level(self.info.declared.white.unwrap_or(1.0)),
        )
        .map_err(|e| Error::Format {
            path: self.path.clone(),
            reason: format!("a trial run with a {w}x{h} image failed: {e}"),
        })?;
        let block = self.shuffle().block;
        let channels = self.info.channels.count();
        if first.channels != channels * block * block {
            return Err(Error::Format {
                path: self.path.clone(),
                reason: format!(
                    "it makes {} channels out of {channels}; an upscaler keeps their number (if it takes several frames, give the keys \"channels\" and \"window\" in [nnupscale])",
                    first.channels / (block * block)
                ),
            });
        }
        let (out_w, out_h) = (first.width * block, first.height * block);
        let scale = out_w / w;
        if scale == 0 || out_w != scale * w || out_h != scale * h || scale > MAX_SCALE {
            return Err(Error::Format {
                path: self.path.clone(),
                reason: format!(
                    "it makes {out_w}x{out_h} out of {w}x{h}; the scale must be a whole number from 1 to {MAX_SCALE}, the same for both"
                ),
            });
        }
        if self.info.declared.scale.is_some_and(|s| s != scale) {
            return Err(Error::Metadata {
                path: info::sidecar(&self.path),
                reason: format!("scale={}, but the network's is {scale}", self.info.scale),
            });
        }
        self.info.scale = scale;
        if self.info.declared.white.is_none() {
            self.info.white = if self.info.input_element == ElementType::U8 {
                255.0
            } else if (first.mean - 0.5).abs() < 0.25 {
                1.0
            } else {
                let byte = trial(&mut session, self, w, h, level(255.0))
                    .map_err(|e| missing(&self.path, "range", &e))?;
                if (byte.mean - 127.5).abs() > 64.0 {
                    return Err(missing(
                        &self.path,
                        "range",
                        "whether white is 1 or 255 cannot be told from a trial run",
                    ));
                }
                255.0
            };
        }
        if self.info.multiple == 0 {
            self.info.multiple = 1;
            if self.info.fixed_size.is_none() {
                self.info.multiple = [1usize, 2, 4, 8, 16, 32, 64]
                    .into_iter()
                    .find(|m| {
                        let side = TRIAL + m;
                        trial(&mut session, self, side, side, level(self.info.white)).is_ok_and(
                            |t| t.width * block == side * scale && t.height * block == side * scale,
                        )
                    })
                    .ok_or_else(|| {
                        missing(
                            &self.path,
                            "multiple",
                            "the sizes that it takes are unclear",
                        )
                    })?;
            }
        }
        Ok(())
    }
}

/// What a trial run gave.
struct Trial {
    channels: usize,
    width: usize,
    height: usize,
    mean: f32,
}

/// Runs a grey image of the given level through the network.
fn trial(
    session: &mut Session,
    model: &Model,
    w: usize,
    h: usize,
    level: f32,
) -> Result<Trial, String> {
    let (c, n) = (model.input_channels(), model.info.fixed_batch.unwrap_or(1));
    let shape = match model.info.layout {
        Layout::Nchw => [n, c, h, w],
        Layout::Nhwc => [n, h, w, c],
    };
    let count = n * c * h * w;
    let text = |e: ort::Error| e.to_string();
    let input = match model.info.input_element {
        ElementType::F32 => Tensor::from_array((shape, vec![level; count]))
            .map_err(text)?
            .upcast(),
        ElementType::F16 => {
            let level = half::f16::from_f32(level);
            Tensor::from_array((shape, vec![level; count]))
                .map_err(text)?
                .upcast()
        }
        ElementType::U8 => {
            let level = if level < 1.0 { 127 } else { level as u8 };
            Tensor::from_array((shape, vec![level; count]))
                .map_err(text)?
                .upcast()
        }
    };
    let outputs = session
        .run(ort::inputs![model.input_name() => input])
        .map_err(text)?;
    let output = outputs.get(model.output_name()).ok_or("no output")?;
    let mean = |sum: f64, n: usize| (sum / n.max(1) as f64) as f32;
    let (dims, mean): (Vec<i64>, f32) = match model.info.output_element {
        ElementType::F32 => {
            let (s, d) = output.try_extract_tensor::<f32>().map_err(text)?;
            (
                s.to_vec(),
                mean(d.iter().map(|v| f64::from(*v)).sum(), d.len()),
            )
        }
        ElementType::F16 => {
            let (s, d) = output.try_extract_tensor::<half::f16>().map_err(text)?;
            (
                s.to_vec(),
                mean(d.iter().map(|v| v.to_f64()).sum(), d.len()),
            )
        }
        ElementType::U8 => {
            let (s, d) = output.try_extract_tensor::<u8>().map_err(text)?;
            (
                s.to_vec(),
                mean(d.iter().map(|v| f64::from(*v)).sum(), d.len()),
            )
        }
    };
    let dims: Vec<usize> = dims
        .iter()
        .map(|d| usize::try_from(*d).unwrap_or(0))
        .collect();
    match (model.info.layout, dims.as_slice()) {
        (Layout::Nchw, [_, c, h, w]) | (Layout::Nhwc, [_, h, w, c]) => Ok(Trial {
            channels: *c,
            width: *w,
            height: *h,
            mean,
        }),
        _ => Err(format!(
            "its output has the shape {dims:?}, four axes were expected"
        )),
    }
}

/// Least common multiple of numbers above 0.
fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

fn layout_of(input: &Port, declared: &Declared) -> Option<Layout> {
    declared.layout.or_else(|| {
        let small = |d: &Dim| matches!(d, Dim::Fixed(c) if *c <= 96);
        match input.dims.as_slice() {
            [_, c, h, w] if small(c) && !(small(w) && *h == *c) => Some(Layout::Nchw),
            [_, _, _, c] if small(c) => Some(Layout::Nhwc),
            _ => None,
        }
    })
}

/// What the declared shape of the input says.
struct Shape {
    layout: Layout,
    channels: Channels,
    window: usize,
    fixed_size: Option<(usize, usize)>,
    fixed_batch: Option<usize>,
}

impl Shape {
    fn new(path: &Path, input: &Port, declared: &Declared) -> Result<Self> {
        let [n, a, b, c] = input.dims.as_slice() else {
            return Err(Error::Format {
                path: path.to_path_buf(),
                reason: format!(
                    "its input \"{}\" has {} axes; four are needed (batch, channels, height, width)",
                    input.name,
                    input.dims.len()
                ),
            });
        };
        let unclear = |key: &str, why: String| Error::Metadata {
            path: info::sidecar(path),
            reason: format!("{why}: give the key \"{key}\" in [nnupscale]"),
        };
        let layout = layout_of(input, declared)
            .ok_or_else(|| unclear("layout", "the order of the input's axes is unclear".into()))?;
        let (count, h, w) = match layout {
            Layout::Nchw => (a, b, c),
            Layout::Nhwc => (c, a, b),
        };
        let window = declared.window.unwrap_or(1);
        let channels = match (count, declared.channels) {
            (Dim::Fixed(n), Some(c)) if *n == c.count() * window => c,
            (Dim::Fixed(n), Some(c)) => {
                return Err(Error::Metadata {
                    path: info::sidecar(path),
                    reason: format!(
                        "channels={} and window={window}, but the network takes {n} channels",
                        c.count()
                    ),
                });
            }
            (Dim::Dynamic, Some(c)) => c,
            (Dim::Fixed(n), None) if *n == window => Channels::Luma,
            (Dim::Fixed(n), None) if *n == 3 * window => Channels::Rgb,
            (Dim::Fixed(n), None) => {
                let why = format!("the network takes {n} channels, neither 1 (luma) nor 3 (RGB)");
                return Err(unclear(
                    if declared.window.is_none() {
                        "window"
                    } else {
                        "channels"
                    },
                    why,
                ));
            }
            (Dim::Dynamic, None) => {
                return Err(unclear(
                    "channels",
                    "the number of channels is not declared".into(),
                ));
            }
        };
        let fixed = |d: &Dim| match d {
            Dim::Fixed(n) => Some(*n),
            Dim::Dynamic => None,
        };
        let fixed_size = match (fixed(w), fixed(h)) {
            (Some(w), Some(h)) => Some((w, h)),
            (None, None) => None,
            _ => {
                return Err(Error::Format {
                    path: path.to_path_buf(),
                    reason: "only one of width and height is fixed; both or none must be".into(),
                });
            }
        };
        let side = fixed_size.map_or(0, |(w, h)| w.max(h));
        let batch = fixed(n).unwrap_or(1);
        if side > MAX_FIXED_SIDE || batch > MAX_FIXED_BATCH {
            return Err(Error::Format {
                path: path.to_path_buf(),
                reason: format!(
                    "its fixed input of {batch} images with a side of {side} is larger than {MAX_FIXED_BATCH} images of {MAX_FIXED_SIDE} pixels"
                ),
            });
        }
        Ok(Self {
            layout,
            channels,
            window,
            fixed_size,
            fixed_batch: fixed(n),
        })
    }
}
