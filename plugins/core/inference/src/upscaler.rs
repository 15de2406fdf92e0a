//! An [`Engine`] and what is done with its result: strength, stabilisation, comparison, fallback.

use std::sync::Arc;

use gstneural_pixels::{
    Color, Filter, FrameBuf, FrameMut, FrameRef, FrameScaler, PixelFormat, Stabilizer, blit, mix,
    split_view,
};

use crate::{
    engine::{Engine, Item, Options, Previous, Report},
    error::{Error, Result},
    model::Model,
};

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// The result.
    #[default]
    Off,
    /// Left of the split the other upscale, right of it the result.
    Split,
    /// The other upscale and the result beside each other, twice as wide.
    Side,
}

/// Choices for an [`Upscaler`].
#[derive(Debug, Clone, PartialEq)]
pub struct UpscalerOptions {
    /// The engine's.
    pub engine: Options,
    /// Weight of the result against the classical upscale, 0..=1.
    pub strength: f32,
    /// Amount of temporal averaging where nothing moves, 0..=1.
    pub stabilize: f32,
    /// What is shown.
    pub compare: Compare,
    /// Position of the split, 0..=1 of the width.
    pub split: f32,
    /// The filter of the classical upscale.
    pub filter: Filter,
}

impl Default for UpscalerOptions {
    fn default() -> Self {
        Self {
            engine: Options::default(),
            strength: 1.0,
            stabilize: 0.0,
            compare: Compare::Off,
            split: 0.5,
            filter: Filter::Bicubic,
        }
    }
}

/// One frame to be upscaled.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The frames that the network sees, in order of time; the middle one is upscaled.
    pub window: &'a [FrameRef<'a>],
    /// Where the result goes.
    pub output: FrameMut<'a>,
    /// The frame before, if its result may be reused; ignored where the result depends on more.
    pub previous: Option<Previous<'a>>,
}

/// Says what cannot be compared.
pub(crate) fn check_compare(
    model: &Model,
    compare_model: Option<&Arc<Model>>,
    compare: Compare,
    format: PixelFormat,
    width: usize,
) -> Result<()> {
    if let Some(other) = compare_model {
        let (a, b) = (other.info(), model.info());
        if a.scale != b.scale || a.window != 1 {
            return Err(Error::Unsupported(format!(
                "compare-model {} (x{}, {} frames) does not fit {} (x{}); it needs the same scale and one frame",
                a.name, a.scale, a.window, b.name, b.scale
            )));
        }
    }
    let out_w = width * model.info().scale;
    let subsampled = format.info().components.iter().any(|c| c.sub_w > 0);
    if compare == Compare::Side && subsampled && !out_w.is_multiple_of(2) {
        return Err(Error::Unsupported(format!(
            "compare=side needs an even output width with subsampled chroma, this one is {out_w}"
        )));
    }
    Ok(())
}

/// Turns frames into larger frames.
#[derive(Debug)]
pub struct Upscaler {
    engine: Engine,
    other: Option<Engine>,
    options: UpscalerOptions,
    classical_scaler: FrameScaler,
    /// Classical upscale of the current frame.
    classical: FrameBuf,
    /// What is shown beside or left of the result.
    beside: Option<FrameBuf>,
    /// The result before it is put beside another.
    result: Option<FrameBuf>,
    stabilizer: Option<Stabilizer>,
}

impl Upscaler {
    /// Opens `model`, and `compare_model` if one is given, for one frame size and format.
    ///
    /// # Errors
    /// As [`Engine::new`]; [`Error::Unsupported`] if the models' scales differ or the compared
    /// pictures cannot stand beside each other.
    pub fn new(
        model: Arc<Model>,
        compare_model: Option<Arc<Model>>,
        options: UpscalerOptions,
        format: PixelFormat,
        color: Color,
        width: usize,
        height: usize,
    ) -> Result<Self> {
        let scale = model.info().scale;
        let (out_w, out_h) = (width * scale, height * scale);
        check_compare(
            &model,
            compare_model.as_ref(),
            options.compare,
            format,
            width,
        )?;
        let comparing = options.compare != Compare::Off;
        let open = |m| Engine::new(m, &options.engine, format, color, width, height);
        let buffer = || FrameBuf::new(format, out_w, out_h, color);
        let stabilizer = (options.stabilize > 0.0)
            .then(|| Stabilizer::new(format, width, height, out_w, out_h))
            .transpose()?;
        Ok(Self {
            engine: open(model)?,
            other: compare_model.filter(|_| comparing).map(open).transpose()?,
            classical_scaler: FrameScaler::new(
                format,
                width,
                height,
                out_w,
                out_h,
                color.site,
                options.filter,
            )?,
            classical: buffer()?,
            beside: comparing.then(buffer).transpose()?,
            result: (options.compare == Compare::Side)
                .then(buffer)
                .transpose()?,
            stabilizer,
            options,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// True if a frame's result is a function of the frame alone and so may be reused.
    pub fn is_reusable(&self) -> bool {
        self.plain() && self.options.compare == Compare::Off
    }

    fn plain(&self) -> bool {
        self.options.strength >= 1.0 && self.stabilizer.is_none()
    }

    /// Moves the split.
    pub fn set_split(&mut self, split: f32) {
        self.options.split = split.clamp(0.0, 1.0);
    }

    /// Forgets earlier frames, after a seek.
    pub fn reset(&mut self) {
        if let Some(s) = &mut self.stabilizer {
            s.reset();
        }
    }

    /// Upscales frames with `weight` (0 < weight <= 1) of the network.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run(&mut self, frames: Vec<Frame<'_>>, weight: f32) -> Result<Report> {
        let reusable = self.is_reusable() && weight >= 1.0;
        if self.options.compare == Compare::Side {
            let mut report = Report::default();
            for frame in frames {
                let r = self.side(frame, weight)?;
                report.tiles += r.tiles;
                report.inference += r.inference;
            }
            return Ok(report);
        }
        let mut items: Vec<Item<'_>> = frames
            .into_iter()
            .map(|f| Item {
                window: f.window,
                output: f.output,
                previous: f.previous.filter(|_| reusable),
            })
            .collect();
        let report = self.engine.run(&mut items)?;
        for item in &mut items {
            let Some(input) = item.window.get(item.window.len() / 2).copied() else {
                continue;
            };
            self.polish(&input, &mut item.output, weight);
            let at = (item.output.width() as f32 * self.options.split) as usize;
            // At 0 nothing of it would be seen: a viewer's switch costs nothing while it is off.
            if self.options.compare == Compare::Split && at > 0 {
                self.render_beside(&input)?;
                if let Some(beside) = &self.beside {
                    split_view(&mut item.output, &beside.as_ref(), at);
                }
            }
        }
        Ok(report)
    }

    /// Upscales a frame without the network.
    pub fn run_classical(&mut self, input: &FrameRef<'_>, output: &mut FrameMut<'_>) -> Result<()> {
        self.reset();
        if let (Compare::Side, Some(buffer)) = (self.options.compare, &mut self.result) {
            self.classical_scaler.run(input, &mut buffer.as_mut());
            let frame = buffer.as_ref();
            blit(output, &frame, 0, 0);
            blit(output, &frame, frame.width(), 0);
            return Ok(());
        }
        self.classical_scaler.run(input, output);
        Ok(())
    }

    /// Strength and stabilisation, in place.
    fn polish(&mut self, input: &FrameRef<'_>, output: &mut FrameMut<'_>, weight: f32) {
        let strength = (self.options.strength * weight).clamp(0.0, 1.0);
        if strength >= 1.0 && self.stabilizer.is_none() {
            return;
        }
        self.classical_scaler
            .run(input, &mut self.classical.as_mut());
        let classical = self.classical.as_ref();
        if strength < 1.0 {
            mix(output, &classical, strength);
        }
        if let Some(s) = &mut self.stabilizer {
            s.run(input, &classical, output, self.options.stabilize);
        }
    }

    fn render_beside(&mut self, input: &FrameRef<'_>) -> Result<()> {
        let Some(beside) = &mut self.beside else {
            return Ok(());
        };
        match &mut self.other {
            Some(other) => {
                let window = [*input];
                let mut items = [Item {
                    window: &window,
                    output: beside.as_mut(),
                    previous: None,
                }];
                other.run(&mut items)?;
            }
            None => self.classical_scaler.run(input, &mut beside.as_mut()),
        }
        Ok(())
    }

    fn side(&mut self, frame: Frame<'_>, weight: f32) -> Result<Report> {
        let Some(mut result) = self.result.take() else {
            return Ok(Report::default());
        };
        let done = self.side_into(frame, weight, &mut result);
        self.result = Some(result);
        done
    }

    fn side_into(
        &mut self,
        frame: Frame<'_>,
        weight: f32,
        result: &mut FrameBuf,
    ) -> Result<Report> {
        let Some(input) = frame.window.get(frame.window.len() / 2).copied() else {
            return Ok(Report::default());
        };
        let mut items = [Item {
            window: frame.window,
            output: result.as_mut(),
            previous: None,
        }];
        let report = self.engine.run(&mut items)?;
        self.polish(&input, &mut result.as_mut(), weight);
        self.render_beside(&input)?;
        let mut output = frame.output;
        if let Some(beside) = &self.beside {
            blit(&mut output, &beside.as_ref(), 0, 0);
        }
        let width = result.as_ref().width();
        blit(&mut output, &result.as_ref(), width, 0);
        Ok(report)
    }
}
